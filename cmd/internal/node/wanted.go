package node

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// DeliverWanted is there while the map needs registries to be asked. systemd starts
// "mirrorcred deliver" for it, which has the network that this process lacks.
const DeliverWanted = "/run/mirrorcred/deliver-wanted"

// wantDeliver writes or removes that file. If that fails, what waits for a registry
// says so.
func (n *Node) wantDeliver(m *mirror.Map) {
	if n.dry || n.elsewhere {
		return
	}
	path := n.path(DeliverWanted)
	_, err := n.tree.Lstat(path)
	switch asks, isThere := n.NeedsRegistries(m), !errors.Is(err, fs.ErrNotExist); {
	case asks && !isThere:
		_ = n.disk.tree.Replace(path, nil)
	case !asks && isThere:
		_ = n.disk.tree.Remove(path)
	}
}

// NeedsRegistries reports whether registries must be asked for the map, by a process that
// has the network: it has a credential that is in hosts.toml, or a mirror whose first
// target has not answered since the start of the machine.
func (n *Node) NeedsRegistries(m *mirror.Map) bool {
	if m.Delivers() {
		return true
	}
	answered, err := n.readyFiles(m)
	return slices.ContainsFunc(m.Mirrors, func(one mirror.Mirror) bool {
		return one.Ready > 0 && (err != nil || !answered[one.ReadyKey()])
	})
}

// MapFiles returns the files that say what the node should be like: a change of one may
// change the map that counts.
func (n *Node) MapFiles() []string { return n.mapFiles() }

// ReadSecret returns the value of a header that the map takes from a file.
func (n *Node) ReadSecret(file string) (string, error) { return n.readSecret(file) }
