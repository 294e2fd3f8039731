package node

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// observe reads what a map is about on the node. wanted are the namespaces of
// the map, and routes what [Node.readRoutes] returns.
func (n *Node) observe(m *mirror.Map, wanted map[string]bool, routes func() (plan.RouteFiles, error)) (plan.Observed, error) {
	var o plan.Observed
	var err error
	if o.Namespaces, err = n.readTree(&o, n.path(m.Containerd.HostsDir), wanted, n.besides(m)); err != nil {
		return o, err
	}
	n.noteBesides(o.Namespaces)
	read, err := routes()
	if err != nil {
		return o, err
	}
	o.Routes, o.ClosedRoutes, o.Leftovers = read.Data, read.Closed, append(o.Leftovers, read.Leftovers...)
	config := n.path(m.Kubelet.Config)
	before, err := versionOf(n.tree, config) // before it is read: a change in between is seen in the next pass
	if err != nil {
		return o, err
	}
	if o.Kubelet, err = n.readKubeletFiles(config); err != nil {
		return o, err
	}
	o.Kubelet.Version = before
	if !o.Kubelet.Dir {
		o.Kubelet.Obstacle = n.kubeletObstacle(config)
	}
	o.Kubelet.Changed, o.Kubelet.ChangedFault = n.host.when(before.Changed)
	if o.Links, err = n.readLinks(&o, n.path(m.Kubelet.BinDir)); err != nil {
		return o, err
	}
	if o.State, err = n.readState(); err != nil {
		return o, err
	}
	if !o.Kubelet.Dir {
		if to, err := n.follow(config); err == nil {
			config = to
		}
		config = filepath.Dir(config)
	}
	if o.Ready, err = n.readReady(m); err != nil {
		return o, err
	}
	for _, dir := range []string{n.path(plan.SavedDir), n.path(plan.StateDir), config} {
		if _, err := n.list(&o, dir, whole(o.Kubelet.Files)...); err != nil {
			return o, err
		}
	}
	return o, nil
}

// list returns the entries of a directory, and notes what a killed run left
// there. like is as in [leftovers].
func (n *Node) list(o *plan.Observed, dir string, like ...[]byte) ([]fs.DirEntry, error) {
	entries, err := n.readBig(dir)
	o.Leftovers = append(o.Leftovers, leftovers(n.tree, dir, entries, like...)...)
	return without(entries, isTemporary), err
}

// readTree reads all namespaces below dir: one that is no longer in the map may
// still be mirrorcred's. beside reports in which the other files are listed
// too.
func (n *Node) readTree(o *plan.Observed, dir string, wanted map[string]bool, beside func(name string) bool) (map[string]plan.Namespace, error) {
	entries, err := n.list(o, dir)
	if err != nil {
		return nil, err
	}
	list := make([]plan.Namespace, len(entries))
	err = n.readAll(dir, entries, func(r *reader, i int) error {
		var err error
		name := entries[i].Name()
		list[i], err = n.readNamespace(r, entries[i], wanted[name], beside(name))
		return err
	})
	tree := make(map[string]plan.Namespace, len(entries))
	for i, e := range entries {
		tree[e.Name()] = list[i]
	}
	return tree, err
}

// readNamespace returns what is in a namespace, which may be remembered.
func (n *Node) readNamespace(r *reader, entry fs.DirEntry, wanted, beside bool) (plan.Namespace, error) {
	if ns, ok := r.known.namespace(entry.Name(), wanted, beside); ok {
		return ns, nil
	}
	ns, err := n.openNamespace(r, entry, wanted, beside)
	if r.known != nil {
		r.made = append(r.made, knownNamespace{name: entry.Name(), ns: ns, isFaulty: err != nil, isWanted: wanted, isListed: beside})
	}
	return ns, err
}

func (n *Node) openNamespace(r *reader, entry fs.DirEntry, wanted, beside bool) (plan.Namespace, error) {
	var ns plan.Namespace
	switch {
	case entry.Type()&fs.ModeSymlink != 0:
		ns.Unusable = plan.SymbolicLink
	case !entry.IsDir():
		ns.Unusable = "it is not a directory"
		return ns, nil
	}
	var irregular *input.IrregularError
	data, info, err := r.read(entry.Name() + "/" + hosts.FileName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return n.inspect(ns, r.Path()+"/"+entry.Name(), wanted, beside)
	case errors.Is(err, errNotDirectory):
		ns.Unusable = "it is not a directory"
		return ns, nil
	case errors.Is(err, errLoop):
		ns.Unusable = "it, or " + hosts.FileName + " in it, is a symbolic link that leads to itself"
		return ns, nil
	case errors.As(err, &irregular):
		ns.Unusable = hosts.FileName + " in it is " + irregular.Kind + ", not a file"
		return ns, nil
	case isShortage(err):
		return ns, describe(err)
	case err != nil:
		what, _, _ := strings.Cut(bare(err).Error(), ";")
		ns.Unusable = hosts.FileName + " in it cannot be read: " + what
		return ns, nil
	}
	ns.Hosts, ns.Mode, ns.Closed = data, info.Mode().Perm(), isClosed(info)
	return n.inspect(ns, r.Path()+"/"+entry.Name(), wanted, beside)
}

func (n *Node) readRoutes(dir string) (plan.RouteFiles, error) {
	var o plan.Observed
	entries, err := n.list(&o, dir)
	if err != nil {
		return plan.RouteFiles{}, err
	}
	entries = without(entries, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".json") })
	data, isOpen, isOdd := make([][]byte, len(entries)), make([]bool, len(entries)), make([]bool, len(entries))
	err = n.readAll(dir, entries, func(r *reader, i int) error {
		text, info, err := r.read(entries[i].Name())
		if isOdd[i] = err != nil && !entries[i].IsDir() && isNoRoute(err); isOdd[i] {
			return nil
		}
		if err != nil {
			return describe(err)
		}
		data[i], isOpen[i] = text, !isClosed(info)
		return nil
	})
	routes, closed := make(map[string][]byte, len(entries)), map[string]bool{}
	for i, e := range entries {
		if isOdd[i] {
			// Whatever it is, it is in mirrorcred's directory, and is removed like the
			// leftovers of a killed run.
			o.Leftovers = append(o.Leftovers, filepath.Join(dir, e.Name()))
			continue
		}
		name := strings.TrimSuffix(e.Name(), ".json")
		routes[name] = data[i]
		if !isOpen[i] {
			closed[name] = true
		}
	}
	slices.Sort(o.Leftovers)
	return plan.RouteFiles{Data: routes, Closed: closed, Leftovers: o.Leftovers}, err
}

// isNoRoute reports whether an error says that a path cannot be a route: a FIFO
// or a device, a dangling link, or a file that is too large.
func isNoRoute(err error) bool {
	var irregular *input.IrregularError
	var oversize *input.OversizeError
	return errors.As(err, &irregular) || errors.As(err, &oversize) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, errLoop)
}

// isShortage reports whether an error is about the machine and not about the
// path.
func isShortage(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) || errors.Is(err, unix.ENOMEM)
}

// readKubeletFiles reads the kubelet's configuration, a file or a directory. A
// missing one will be a file.
func (n *Node) readKubeletFiles(path string) (plan.KubeletFiles, error) {
	k := plan.KubeletFiles{Mode: 0o644, Files: map[string][]byte{}, Reader: new(kubeletconfig.Reader)}
	info, err := n.tree.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, describe(err)
	}
	if !info.IsDir() {
		k.Mode = info.Mode().Perm()
		data, err := n.tree.ReadFile(path, 0)
		k.Files[filepath.Base(path)] = data
		if err != nil {
			err = describe(err)
		}
		return k, err
	}
	k.Dir = true
	entries, err := n.readDir(path)
	if err != nil {
		return k, err
	}
	for _, e := range entries {
		if e.IsDir() || len(kubeletconfig.Files(map[string][]byte{e.Name(): nil})) == 0 {
			continue
		}
		file := filepath.Join(path, e.Name())
		data, err := n.tree.ReadFile(file, 0)
		if errors.Is(err, fs.ErrNotExist) && e.Type()&fs.ModeSymlink != 0 {
			err = &fs.PathError{Op: "open", Path: file, Err: errLinkNowhere} // the kubelet would not start with it
		}
		if err != nil {
			return k, describe(err)
		}
		k.Files[e.Name()] = data
	}
	return k, nil
}
