// Package node is the disk of a Kubernetes node. It reads what is there, plans
// what a mirror map needs, and carries the plan out, so that the node keeps all
// promises between any two steps.
//
// The contents of the files come from the packages hosts, route and
// kubeletconfig. This package knows where the files are, in which order they
// change, and what must be waited for. Start at [Node.Plan] and [Node.Apply].
package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	stateFile = plan.StateDir + "/state.json"
	lockFile  = plan.StateDir + "/lock"
)

// A Node is a machine, or the tree of one below another root.
type Node struct {
	// Root is the directory that all paths are below; "" is the machine
	// itself. Below another root no daemon runs, so none is asked.
	Root string
	// Map is the path of the map. If no flag names it, it is below Root, and each
	// reading chooses it anew; see [Source].
	Map string
	// Adopt overwrites files of other programs that block a mirror; a copy is
	// kept.
	Adopt bool
	// Retry writes a kubelet configuration again with which the kubelet did not
	// start before.
	Retry bool
	// NoKubelet says that no kubelet runs, in case that cannot be seen.
	NoKubelet bool
	// NoDelivery says that the node becomes an image, in which there must be no
	// credential. Sources with one in hosts.toml stay pending.
	NoDelivery bool
	// Overlay are containerd's files and the plugin that count as if they were
	// there, by their path on the node: for a plan of what comes once they are.
	Overlay map[string][]byte

	// Empty takes the map for one without mirrors, which leaves nothing of
	// mirrorcred in containerd's tree. A map that is missing or has a fault is
	// one too then.
	Empty bool

	// LockTimeout is how long to wait while another mirrorcred holds the lock; 0
	// means until it ends.
	LockTimeout time.Duration
	// OnWait, if not nil, is called once with a line that says who holds the lock, if
	// a run waits for it for longer than a second.
	OnWait func(line string)
	// Remember is how long a pass may use what an earlier one read in a large directory,
	// if nothing shows that the file has changed since. After that time, or with 0, each
	// file is read again.
	Remember time.Duration
	// Changes, if not nil, reports changes of files, so that not each file must be
	// looked at.
	Changes Changes
	// Made, if not nil, is called for each change once it is in place.
	Made func(plan.Change)
	// count is how many changes of the present plan are in place.
	count int

	// held says that [Node.Hold] has the lock.
	held bool
	// elsewhere says that the node is not this machine.
	elsewhere bool
	// choice is how the map is chosen, and source what was last read.
	choice choice
	source Source
	// closed says that only its owner can read the map.
	closed bool
	// parsed is the map that was last parsed without a fault; m is nil if none was.
	parsed struct {
		of parsing
		m  *mirror.Map
	}
	// mapStamp identifies the file of the map that was last read.
	mapStamp string
	dry      bool // while a plan is made only to be shown
	// rearmed is what the node is armed by, even if its map has a fault.
	rearmed *armed.Record
	disk    disk
	// inputs are what the last plan was made of; nil before it.
	inputs *inputs
	// found are the namespaces in which the last plan found files beside
	// hosts.toml.
	found []string
	// driven is the last good map if its mirrors are mapped in the kubelet's
	// configuration, otherwise nil; see [plan.Plugin].
	driven *mirror.Map
	host   machine
	// tree is the tree at Root, which no link leaves; nil for the machine itself.
	tree    *input.Root
	recalls recalls
	// versions parses each map that is read, and rendering renders it.
	versions  mirror.Versions
	rendering plan.Rendering
	rootOnce  sync.Once
	rootErr   error // of checkRoot
	// firstSeen are the contents of files that other programs write too, by path.
	firstSeen map[string]firstSight
}

// New returns the node below root; root "" or "/" is the machine itself. The
// map "" is the default one.
func New(root, mapFile string, adopt bool) *Node {
	if root == "/" {
		root = ""
	}
	n := &Node{Root: root, Map: mapFile, Adopt: adopt, elsewhere: root != "", host: linux{units: &units{}}, tree: input.NewRoot(root)}
	n.disk.tree = durable.Tree{Root: n.tree}
	if n.choice.isOpen = n.Map == ""; n.choice.isOpen {
		n.Map = n.path(DefaultMap)
	}
	return n
}

// onNode returns the path on the node of a path on this machine.
func (n *Node) onNode(path string) string {
	return "/" + strings.TrimPrefix(strings.TrimPrefix(path, n.Root), "/")
}

// path returns the path on this machine of a path on the node.
func (n *Node) path(parts ...string) string {
	return filepath.Join(append([]string{n.Root, "/"}, parts...)...)
}

// ReadMap reads and parses the map. The error says every fault of it.
func (n *Node) ReadMap() (*mirror.Map, error) {
	if err := n.checkRoot(); err != nil {
		return nil, err
	}
	m, _, err := n.readMap()
	return m, err
}

// readMap reads and parses the map, with what it names to be read with it.
func (n *Node) readMap() (*mirror.Map, headerValues, error) {
	if n.Empty {
		m, err := n.emptyMap()
		return m, headerValues{}, err
	}
	return n.readFullMap()
}

// emptyMap returns a map without mirrors whose paths are those of the real one, or
// those that the last run had.
func (n *Node) emptyMap() (*mirror.Map, error) {
	empty, err := mirror.Parse(n.Map, []byte("version = 1\n"))
	if err != nil {
		return nil, err
	}
	if m, _, err := n.readFullMap(); err == nil {
		empty.Containerd, empty.Kubelet = m.Containerd, m.Kubelet
		empty.Kubelet.MatchImages, empty.Kubelet.MatchAny = nil, false
		return empty, nil
	}
	n.note(empty)
	s, err := n.readState()
	if err == nil && s.Containerd != (mirror.Containerd{}) {
		empty.Containerd = s.Containerd
	}
	return empty, err
}

// readFullMap is [Node.readMap] for the map as it is.
func (n *Node) readFullMap() (*mirror.Map, headerValues, error) {
	data, info, err := n.readMapFile()
	if err != nil {
		return nil, headerValues{}, err
	}
	if err := n.newTrust().check(n.Map); err != nil {
		return nil, headerValues{}, untrusted("other users can change where the map sends credentials", err)
	}
	n.closed = info.Mode()&0o077 == 0 && !n.source.Delivered
	m, err := n.parseMap(data)
	if err != nil {
		return nil, headerValues{}, err
	}
	n.usePaths(m)
	n.useKubeconfig(m)
	n.note(m)
	if err := n.checkLiteralSecrets(m, info.Mode()); err != nil {
		return nil, headerValues{}, err
	}
	return m, n.readSecrets(m), nil
}

// checkLiteralSecrets refuses a map that others can read if it contains a
// secret.
func (n *Node) checkLiteralSecrets(m *mirror.Map, mode fs.FileMode) error {
	if mode&0o077 == 0 {
		return nil
	}
	var errs []error
	for _, s := range m.LiteralSecrets {
		if !s.Certain {
			continue // a warning; see openMap in package doctor
		}
		errs = append(errs, &mirror.Fault{Name: doctor.SecretInMap, File: n.Map, Line: s.Line, Text: fmt.Sprintf(
			"header %s has a secret in a map that other users can read; write { file = \"/etc/mirrorcred/%s.header\" } and put the value there with mode 0600, or run: chmod 0600 on the map",
			s.Header, strings.ToLower(s.Header))})
	}
	return errors.Join(errs...)
}

// headerValues are the values of the headers that come from files, by the file.
type headerValues struct {
	values map[string]string
	// faults are why a value cannot be read. Its header has unread as value, so that
	// what is rendered with it is equal to nothing on the disk, and is not written.
	faults map[string]error
	// deliveries are what was handed over for headers, by their keys. A value that is
	// missing is unread too.
	deliveries map[string]plan.Delivery
}

// unread stands for a value that cannot be read.
const unread = "mirrorcred: this value could not be read"

// readSecrets reads the files that headers take their values from.
func (n *Node) readSecrets(m *mirror.Map) headerValues {
	h := headerValues{map[string]string{}, map[string]error{}, map[string]plan.Delivery{}}
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			for _, header := range t.Settings.Header {
				from := header.Source()
				if _, done := h.values[from]; from == "" || done {
					continue
				}
				if header.Delivered != "" {
					h.values[from], h.deliveries[from] = n.delivery(from)
					continue
				}
				value, err := n.readSecret(header.File)
				if err != nil {
					h.faults[from], value = err, unread
				}
				h.values[from] = value
			}
		}
	}
	return h
}

func (n *Node) readSecret(file string) (string, error) {
	path := n.path(file)
	data, info, err := n.tree.Read(path, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &fault.Fault{Where: path, Found: "no such file", Fix: "create it with mode 0600"}
	}
	if err != nil {
		return "", describe(err)
	}
	if err := checkSecret(path, info); err != nil {
		return "", err
	}
	value := strings.TrimRight(string(data), "\r\n")
	if value == "" || !mirror.IsHeaderValue(value) {
		return "", &fault.Fault{Where: path, Found: "it is empty, or has several lines or control characters", Fix: "write the value on one line"}
	}
	return value, nil
}
