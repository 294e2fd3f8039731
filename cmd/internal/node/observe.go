package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// An observed is what is on a node before anything is changed.
type observed struct {
	namespaces map[string]namespace // directories below hosts_dir
	routes     map[string][]byte    // route files by namespace
	kubelet    kubeletFiles
	links      map[string]bool // in bin_dir, those to the plugin that are ours
	state      state
	// leftovers are what a killed run was building.
	leftovers []string
}

// A namespace is one directory of the tree.
type namespace struct {
	hosts []byte      // its hosts.toml; nil where there is none
	mode  fs.FileMode // of hosts.toml
	// odd says why nothing is written there, "" where it is a directory.
	odd string
	// more says that there are other files beside hosts.toml. It is known
	// only of namespaces that are not in the map.
	more bool
}

// whose says who wrote the hosts.toml in a namespace. It is asked of few: what
// is as the map says is ours.
func (ns namespace) whose() hosts.Mine { return hosts.Whose(ns.hosts) }

// kubeletFiles are the kubelet's configurations of credential providers.
type kubeletFiles struct {
	dir   bool // the configuration is a directory
	mode  fs.FileMode
	files map[string][]byte // by name; for a file its base name
}

// observe reads the node as far as a map is about it. wanted are the namespaces
// of the map, and routes what [readRoutes] returned.
func (n *Node) observe(m *mirror.Map, wanted map[string]bool, routes func() (routeFiles, error)) (observed, error) {
	var o observed
	var err error
	if o.namespaces, err = o.readTree(n.path(m.Containerd.HostsDir), wanted); err != nil {
		return o, err
	}
	read, err := routes()
	if err != nil {
		return o, err
	}
	o.routes, o.leftovers = read.data, append(o.leftovers, read.leftovers...)
	config := n.path(m.Kubelet.Config)
	if o.kubelet, err = readKubeletFiles(config); err != nil {
		return o, err
	}
	if o.links, err = o.readLinks(n.path(m.Kubelet.BinDir)); err != nil {
		return o, err
	}
	if o.state, err = n.readState(); err != nil {
		return o, err
	}
	if !o.kubelet.dir {
		config = filepath.Dir(config)
	}
	for _, dir := range []string{n.path(savedDir), n.path(stateDir), config} {
		if _, err := o.list(dir); err != nil {
			return o, err
		}
	}
	return o, nil
}

// list returns what is in a directory, and notes what a killed run left there.
func (o *observed) list(dir string) ([]fs.DirEntry, error) {
	entries, err := readDir(dir)
	o.leftovers = append(o.leftovers, leftovers(dir, entries)...)
	return without(entries, isTemporary), err
}

// readTree reads the namespaces below dir, all of them: one that is not in the
// map any more may be ours.
func (o *observed) readTree(dir string, wanted map[string]bool) (map[string]namespace, error) {
	entries, err := o.list(dir)
	if err != nil {
		return nil, err
	}
	list := make([]namespace, len(entries))
	err = readAll(dir, entries, func(r *reader, i int) error {
		var err error
		list[i], err = readNamespace(r, entries[i], !wanted[entries[i].Name()])
		return err
	})
	tree := make(map[string]namespace, len(entries))
	for i, e := range entries {
		tree[e.Name()] = list[i]
	}
	return tree, err
}

func readNamespace(r *reader, entry fs.DirEntry, removable bool) (namespace, error) {
	var ns namespace
	switch {
	case entry.Type()&fs.ModeSymlink != 0:
		ns.odd = "it is a symbolic link"
	case !entry.IsDir():
		ns.odd = "it is not a directory"
		return ns, nil
	}
	data, mode, err := r.read(entry.Name() + "/" + hosts.FileName)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ns, nil
	case err != nil:
		return ns, describe(err)
	case !mode.IsRegular():
		ns.odd = hosts.FileName + " in it is not a file"
		return ns, nil
	}
	ns.hosts, ns.mode = data, mode.Perm()
	if removable && ns.whose() == hosts.Ours {
		beside, err := readDir(filepath.Join(r.dir, entry.Name()))
		if err != nil {
			return ns, err
		}
		ns.more = len(beside) > 1
	}
	return ns, nil
}

// routeFiles are the route files by the namespaces in their names.
type routeFiles struct {
	data      map[string][]byte
	leftovers []string
}

func readRoutes(dir string) (routeFiles, error) {
	var o observed
	entries, err := o.list(dir)
	if err != nil {
		return routeFiles{}, err
	}
	entries = without(entries, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".json") })
	data := make([][]byte, len(entries))
	err = readAll(dir, entries, func(r *reader, i int) error {
		var err error
		if data[i], _, err = r.read(entries[i].Name()); err != nil {
			return describe(err)
		}
		return nil
	})
	routes := make(map[string][]byte, len(entries))
	for i, e := range entries {
		routes[strings.TrimSuffix(e.Name(), ".json")] = data[i]
	}
	return routeFiles{routes, o.leftovers}, err
}

// readKubeletFiles reads the kubelet's configuration, a file or a directory.
// One that is not there will be a file.
func readKubeletFiles(path string) (kubeletFiles, error) {
	k := kubeletFiles{mode: 0o644, files: map[string][]byte{}}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return k, describe(err)
	}
	if !info.IsDir() {
		k.mode = info.Mode().Perm()
		data, err := os.ReadFile(path)
		k.files[filepath.Base(path)] = data
		if err != nil {
			err = describe(err)
		}
		return k, err
	}
	k.dir = true
	entries, err := readDir(path)
	if err != nil {
		return k, err
	}
	for _, e := range entries {
		if e.IsDir() || len(kubeletconfig.Files(map[string][]byte{e.Name(): nil})) == 0 {
			continue
		}
		data, err := os.ReadFile(filepath.Join(path, e.Name()))
		if err != nil {
			return k, describe(err)
		}
		k.files[e.Name()] = data
	}
	return k, nil
}
