package deliver

import (
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Want is a credential that its registry's table in hosts.toml needs.
type Want struct {
	// Key is the delivery key (package mirror).
	Key        string
	Target     mirror.Target
	Credential mirror.Credential
	// Group is the same for all credentials of one registry and identity.
	Group string
	// Written is when the file of the credential was last changed, and Stamp tells one
	// content of it from another; zero if it has no file.
	Written time.Time
	Stamp   string
}

// Wanted returns what a map wants, each key once. stat returns the file of a credential
// by its path on the node.
func Wanted(m *mirror.Map, stat func(path string) (fs.FileInfo, error)) []Want {
	var list []Want
	seen := map[string]bool{}
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			key, ok := t.Delivery()
			if !ok || seen[key] {
				continue
			}
			c, ok := m.Credential(t.Credentials[0]) // a header has one
			if !ok {
				continue // a map that parses has it
			}
			seen[key] = true
			w := Want{Key: key, Target: t, Credential: c, Group: fmt.Sprintf("%s %q %q %q %q %q", t.Host(), c.Kind, c.File, c.Command, c.Args, c.Env)}
			if c.File != "" {
				w.Written, w.Stamp = stampOf(stat(c.File))
			}
			list = append(list, w)
		}
	}
	return list
}

// stampOf tells one content of a file from another.
func stampOf(info fs.FileInfo, err error) (time.Time, string) {
	if err != nil {
		return time.Time{}, err.Error()
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.ModTime(), fmt.Sprint(info.ModTime().UnixNano(), info.Size())
	}
	changed := time.Unix(stat.Ctim.Unix())
	return changed, fmt.Sprint(stat.Dev, stat.Ino, stat.Size, changed.UnixNano(), info.Mode())
}
