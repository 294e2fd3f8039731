package node

import (
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// readReady returns the mirrors whose first target has answered. Below another root
// nothing asks, and what lies there is of another machine.
func (n *Node) readReady(m *mirror.Map) (map[string]bool, error) {
	if n.elsewhere {
		return nil, nil
	}
	return n.readyFiles(m)
}

// readyFiles is [Node.readReady] for this machine.
func (n *Node) readyFiles(m *mirror.Map) (map[string]bool, error) {
	waits := func(one mirror.Mirror) bool { return one.Ready > 0 }
	if !slices.ContainsFunc(m.Mirrors, waits) {
		return nil, nil
	}
	entries, err := n.readDir(n.path(plan.ReadyDir))
	if err != nil {
		return nil, err
	}
	ready := map[string]bool{}
	for _, e := range entries {
		if key, ok := strings.CutSuffix(e.Name(), plan.ReadySuffix); ok && e.Type().IsRegular() {
			ready[key] = true
		}
	}
	return ready, nil
}

// Unready returns the mirrors of a map that wait for their first target, as far as is
// known without asking: no hosts.toml asks it yet.
func (n *Node) Unready(m *mirror.Map) []mirror.Mirror {
	version, err := hosts.ParseVersion(m.Containerd.Version)
	if err != nil {
		return nil // which the plan reports
	}
	return slices.DeleteFunc(slices.Clone(m.Mirrors), func(one mirror.Mirror) bool {
		if one.Ready == 0 {
			return true
		}
		data, err := n.tree.ReadFile(n.path(m.Containerd.HostsDir, hosts.Namespace(one.Source), hosts.FileName), 0)
		return err == nil && plan.UsesFirstTarget(data, one, version)
	})
}
