package config

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// A Verdict is what a line's loader makes of a tree. See build/testdata/loader.
type Verdict struct {
	Starts     bool     `json:"starts"`
	CRI        bool     `json:"cri"`
	ConfigPath string   `json:"config_path"`
	Why        string   `json:"why"`
	Disabled   bool     `json:"disabled"` // the CRI, by a file
	Enabled    *Verdict `json:"enabled"`  // if Disabled: what it is without that
	Varies     bool     `json:"-"`        // not the same each time
	Rest       string   `json:"rest"`     // everything in effect but config_path, imports and the version
}

// Reads reports whether pulls use the hosts.toml files of Dir and no others, on
// both paths of the CRI: one splits config_path at colons, the other does not.
func (v Verdict) Reads() bool {
	roots := filepath.SplitList(v.ConfigPath)
	return v.pulls() && !v.Varies && len(roots) == 1 && filepath.Clean(roots[0]) == Dir && filepath.Clean(v.ConfigPath) == Dir
}

func (v Verdict) pulls() bool { return v.Starts && v.CRI }

// Arms reports whether a credential may be returned there: containerd reads
// Dir, or would if its CRI was not disabled. While it is, nothing is pulled, and
// mirrorcred warns of that.
func (v Verdict) Arms() bool {
	if v.Disabled {
		return !v.Varies && v.Enabled.Reads()
	}
	return v.Reads()
}

// Harms reports whether a credential must not be answered there. Only if the
// CRI is disabled, one does no harm that no pull would use once it is enabled.
func (v Verdict) Harms() bool {
	if v.Disabled {
		return v.Varies || v.Enabled.pulls() && !v.Enabled.Reads()
	}
	return !v.Reads()
}

// String says it as the examples do.
func (v Verdict) String() string {
	return answer(v.Starts, v.CRI, v.ConfigPath)
}

// full is String with what is true once the CRI is enabled.
func (v Verdict) full() string {
	if v.Disabled {
		return v.String() + ", enabled " + v.Enabled.String()
	}
	return v.String()
}

func answer(starts, cri bool, configPath string) string {
	switch {
	case !starts:
		return "no start"
	case !cri:
		return "no CRI"
	}
	switch configPath {
	case "":
		return "none"
	case Dir:
		return "C"
	case Other:
		return "X"
	case list:
		return "list"
	}
	return configPath
}

// A Loader is the loader of one version of containerd, which runs.
type Loader struct {
	Version string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	stderr  strings.Builder
}

// StartLoader starts the loader in a directory that build.Loader returned.
func StartLoader(version, dir string) (*Loader, error) {
	l := &Loader{Version: version, cmd: exec.Command(filepath.Join(dir, "loader"))}
	l.cmd.Stderr = &l.stderr
	var err error
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.out = bufio.NewReader(out)
	return l, l.cmd.Start()
}

// Stop ends the loader.
func (l *Loader) Stop() {
	l.in.Close()
	l.cmd.Wait()
}

// Verdicts returns the verdicts on trees that are written below these directories.
func (l *Loader) Verdicts(roots ...string) ([]Verdict, error) {
	go io.WriteString(l.in, strings.Join(roots, "\n")+"\n")
	all := make([]Verdict, len(roots))
	for i, root := range roots {
		line, err := l.out.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &all[i])
		}
		if err != nil {
			return nil, fmt.Errorf("the loader of containerd %s ended at %s: %w %s", l.Version, root, err, l.stderr.String())
		}
	}
	return all, nil
}

// AskAgain asks for each tree that many times. If the answers differ, as with
// what Go's order of maps decides, the tree is not read for sure.
func (l *Loader) AskAgain(times int, roots ...string) ([]Verdict, error) {
	all, err := l.Verdicts(roots...)
	for range times - 1 {
		again, err := l.Verdicts(roots...)
		if err != nil {
			return nil, err
		}
		for i, v := range again {
			if v.full() != all[i].full() {
				all[i].Varies = true
			}
		}
	}
	return all, err
}

// inside runs f with root as the root directory of this process, of all of its
// threads. After it the working directory is what it was.
func inside(root string, f func()) (err error) {
	var open [2]*os.File
	for i, name := range []string{"/", "."} {
		if open[i], err = os.Open(name); err != nil {
			return err
		}
		defer open[i].Close()
	}
	if err := syscall.Chroot(root); err != nil {
		return fmt.Errorf("chroot %s: %w", root, err)
	}
	defer func() {
		err = errors.Join(open[0].Chdir(), syscall.Chroot("."), open[1].Chdir())
	}()
	f()
	return nil
}
