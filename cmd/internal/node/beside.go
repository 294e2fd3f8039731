package node

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// mostBesides bounds in how many unchanged namespaces one pass lists the other
// files. With more, each pass picks some at random: listing all of 10,000 would
// cost as much as reading their hosts.toml, and can only lead to a warning.
// Namespaces where something was found are listed each time.
const mostBesides = 256

// besides returns a function that reports in which namespaces to list the files
// beside hosts.toml, whatever that contains. The function is safe for use by
// several goroutines.
func (n *Node) besides(m *mirror.Map) func(name string) bool {
	list := map[string]bool{hosts.Default: true}
	for _, one := range m.Mirrors {
		for _, name := range hosts.Shadowed(one.Source) {
			list[name] = true
		}
	}
	total := len(m.Mirrors)
	first := 0
	if total > mostBesides {
		first = rand.IntN(total)
	}
	for i := range min(total, mostBesides) {
		list[hosts.Namespace(m.Mirrors[(first+i)%total].Source)] = true
	}
	for _, name := range n.found {
		list[name] = true
	}
	return func(name string) bool { return list[name] }
}

// noteBesides remembers the namespaces in which other files were found.
func (n *Node) noteBesides(tree map[string]plan.Namespace) {
	n.found = nil
	for name, ns := range tree {
		if !ns.Certs.None() {
			n.found = append(n.found, name)
		}
	}
}

// inspect lists what is beside the hosts.toml of a namespace: the files in
// Docker's layout, which count as long as hosts.toml is not mirrorcred's, and
// whether a namespace to be removed has other files. It opens none of them.
func (n *Node) inspect(ns plan.Namespace, dir string, wanted, beside bool) (plan.Namespace, error) {
	removable := !wanted && ns.Owner() == hosts.Ours
	if !beside && !removable && len(ns.Hosts) > 0 && (!wanted || hosts.Generated(ns.Hosts)) {
		return ns, nil
	}
	entries, err := n.tree.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		ns.Dangling = true
		return ns, nil
	case errors.Is(err, errNotDirectory):
		ns.Unusable = "it is not a directory"
		return ns, nil
	case errors.Is(err, errLoop):
		ns.Unusable = "it is a symbolic link that leads to itself"
		return ns, nil
	case err != nil:
		return ns, describe(err)
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	ns.Certs = hosts.FindCerts(names)
	ns.HasOthers = removable && len(entries) > 1
	if link := filepath.Join(dir, hosts.FileName); ns.Hosts == nil && isLink(entries, hosts.FileName) {
		if _, err := n.tree.Stat(link); errors.Is(err, fs.ErrNotExist) {
			// It may belong to a tree that is still being set up, and writing would turn
			// the link into a file.
			ns.Unusable = hosts.FileName + " in it is a symbolic link that leads nowhere"
		}
	}
	return ns, nil
}

func isLink(entries []fs.DirEntry, name string) bool {
	for _, e := range entries {
		if e.Name() == name {
			return e.Type()&fs.ModeSymlink != 0
		}
	}
	return false
}
