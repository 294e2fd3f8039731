// Package node is the disk of a Kubernetes node: it reads what is there, plans
// what a mirror map asks for beside it, and carries the plan out so that the
// node is whole between any two steps.
//
// What the files say is made elsewhere, in packages hosts, credential and
// kubeletconfig. This package knows where they are, in which order they change,
// and what has to be waited for. Start at [Node.Plan] and [Node.Apply].
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// DefaultMap is where the map is unless a flag says otherwise.
const DefaultMap = "/etc/mirrorcred/mirrors.toml"

// PluginName is the name of the plugin's executable, and so of our provider in
// the kubelet's configuration.
const PluginName = "mirror-credential-provider"

const (
	stateDir  = "/var/lib/mirrorcred"
	routesDir = stateDir + "/routes"
	stateFile = stateDir + "/state.json"
	lockFile  = stateDir + "/lock"
	savedDir  = stateDir + "/adopted"
)

// A Node is a machine, or the tree of one below another root.
type Node struct {
	// Root is the directory that all paths are below; "" is the machine
	// itself. Below another root no daemon runs and none is waited for.
	Root string
	// Map is the path of the map, below Root where it is the default.
	Map string
	// Adopt takes over files that others wrote where the map wants its own.
	Adopt bool
	// Retry gives the kubelet a configuration again that it did not come up
	// with before.
	Retry bool

	// elsewhere says that the node is not the machine that we run on.
	elsewhere bool
	disk      disk
	// inputs are what the last plan was made of; nil before it.
	inputs *inputs
	// driven is the last good map where it drives [mirror.Stock], else nil.
	driven *mirror.Map
	host   machine
}

// New returns the node below root; root "" or "/" is the machine itself. The
// map "" is the default one.
func New(root, mapFile string, adopt bool) *Node {
	if root == "/" {
		root = ""
	}
	n := &Node{Root: root, Map: mapFile, Adopt: adopt, elsewhere: root != "", host: linux{}}
	if n.Map == "" {
		n.Map = n.path(DefaultMap)
	}
	return n
}

// path returns where a path of the node is on this machine.
func (n *Node) path(parts ...string) string {
	return filepath.Join(append([]string{n.Root, "/"}, parts...)...)
}

// readMap reads and parses the map, with what it names to be read with it.
func (n *Node) readMap() (*mirror.Map, map[string]string, error) {
	data, err := os.ReadFile(n.Map)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, fmt.Errorf("%s: there is no map; write one, of which \"version = 1\" is the smallest, or name another with --map", n.Map)
	case err != nil:
		return nil, nil, describe(err)
	}
	m, err := mirror.Parse(n.Map, data)
	if err != nil {
		return nil, nil, err
	}
	n.note(m)
	if err := n.checkLiteralSecrets(m); err != nil {
		return nil, nil, err
	}
	secrets, err := n.readSecrets(m)
	return m, secrets, err
}

// checkLiteralSecrets refuses a map that others can read where a secret stands
// in it.
func (n *Node) checkLiteralSecrets(m *mirror.Map) error {
	if len(m.LiteralSecrets) == 0 {
		return nil
	}
	info, err := os.Stat(n.Map)
	if err != nil {
		return err
	}
	if info.Mode()&0o077 == 0 {
		return nil
	}
	var errs []error
	for _, s := range m.LiteralSecrets {
		errs = append(errs, &mirror.Fault{File: n.Map, Line: s.Line, Text: fmt.Sprintf(
			"header %s holds its secret in a map that others can read; write { file = \"/etc/mirrorcred/%s.header\" } and put the value there with mode 0600, or chmod 0600 the map",
			s.Header, strings.ToLower(s.Header))})
	}
	return errors.Join(errs...)
}

// readSecrets reads the files that headers take their values from.
func (n *Node) readSecrets(m *mirror.Map) (map[string]string, error) {
	secrets := map[string]string{}
	var errs []error
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			for _, h := range t.Settings.Header {
				if _, done := secrets[h.File]; h.File == "" || done {
					continue
				}
				value, err := n.readSecret(h.File)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: header %s of %q: %w", n.Map, h.Name, t, err))
				}
				secrets[h.File] = value
			}
		}
	}
	return secrets, errors.Join(errs...)
}

func (n *Node) readSecret(file string) (string, error) {
	path := n.path(file)
	info, err := os.Stat(path)
	if err != nil {
		return "", describe(err)
	}
	if info.Mode()&0o077 != 0 {
		return "", fmt.Errorf("others can read %s, which holds a secret; run chmod 0600 %s", path, path)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", describe(err)
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" || !mirror.IsHeaderValue(value) {
		return "", fmt.Errorf("%s holds no header's value; write it on one line", path)
	}
	return value, nil
}

// describe adds what to do to the errors of the disk that an operator meets.
func describe(err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return err
	}
	hint := ""
	switch {
	case errors.Is(err, fs.ErrPermission):
		hint = "; run this as root"
	case errors.Is(err, errIsDirectory):
		hint = "; there has to be a file, move the directory away or name another path"
	case errors.Is(err, errNotDirectory):
		hint = "; there has to be a directory, move the file away or name another path"
	case errors.Is(err, errReadOnly):
		hint = "; remount it writable, or run this where the image is built"
	case errors.Is(err, errNoSpace), errors.Is(err, errQuota):
		hint = "; free some space and run this again, nothing was lost"
	}
	return fmt.Errorf("%s: %w%s", path.Path, path.Err, hint)
}

// A Moment is a point in the life of a machine: the wall clock may jump.
type Moment struct {
	Boot  string        `json:"boot"`  // the kernel's boot_id
	Since time.Duration `json:"since"` // time since that boot, suspends included, in nanoseconds
}

// before reports whether m lies before other. One of an earlier boot does.
func (m Moment) before(other Moment) bool {
	return m.Boot != other.Boot || m.Since < other.Since
}
