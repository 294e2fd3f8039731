package plan

import (
	"path"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A tree is what is in hosts_dir, and what the plan may change there: which files are
// another program's, and which of those the operator adopts.
type tree struct {
	dir        string
	version    hosts.Version
	namespaces map[string]Namespace
	wanted     map[string]bool // the namespaces of the map
	// rancher are the directories that k3s or RKE2 will write.
	rancher map[string]Naming
	// obstacles say why nothing can be changed in a namespace.
	obstacles map[string]string
	// adopt says that the operator adopts whatever is there with this plan. adopted is
	// what was adopted before, as in [State].
	adopt   bool
	adopted map[string]string
}

func newTree(d *Desired, o *Observed) tree {
	return tree{
		dir: d.Map.Containerd.HostsDir, version: d.Version, namespaces: o.Namespaces, wanted: d.Wanted,
		rancher: o.Rancher, obstacles: o.Obstacles, adopt: d.Adopt, adopted: o.State.Adopted,
	}
}

// path returns the directory of a namespace, and file the hosts.toml in it.
func (t tree) path(name string) string { return path.Join(t.dir, name) }

func (t tree) file(name string) string { return path.Join(t.dir, name, hosts.FileName) }

// shadowed returns the directory that containerd reads for a source until the
// generated one exists, and "" if there is none.
func (t tree) shadowed(s mirror.Source) (string, Namespace) {
	for _, name := range hosts.Shadowed(s) {
		if ns, exists := t.namespaces[name]; exists && !ns.Dangling {
			return name, ns
		}
	}
	return "", Namespace{}
}

// readsCerts reports whether containerd uses the certificates in a namespace. It
// ignores them if it can read a hosts.toml there.
func (t tree) readsCerts(ns Namespace) bool {
	return !hosts.Generated(ns.Hosts) && hosts.ReadsCerts(ns.Hosts, t.version)
}

// isOurs reports whether the hosts.toml in a namespace is one that mirrorcred wrote
// and that can be changed.
func (t tree) isOurs(name string) bool {
	ns, exists := t.namespaces[name]
	return exists && ns.Unusable == "" && ns.Owner() == hosts.Ours
}

// obstacles returns the namespaces of the map that have to change and in which
// nothing can be changed, with the reasons: they stay as they are.
func obstacles(files []hosts.File, t tree) map[string]string {
	stuck := map[string]string{}
	if len(t.obstacles) == 0 {
		return stuck
	}
	for _, f := range files {
		if ns, exists := t.namespaces[f.Namespace]; exists && !ns.Holds(f) {
			if reason := t.obstacles[f.Namespace]; reason != "" {
				stuck[f.Namespace] = reason
			}
		}
	}
	return stuck
}
