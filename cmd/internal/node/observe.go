package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// An observed is what is on a node before anything is changed.
type observed struct {
	namespaces map[string]namespace // directories below hosts_dir
	routes     map[string][]byte    // route files by namespace
	kubelet    kubeletFiles
	state      state
	// leftovers are what a killed run was building.
	leftovers []string
}

// A namespace is one directory of the tree.
type namespace struct {
	hosts []byte      // its hosts.toml; nil where there is none
	mode  fs.FileMode // of hosts.toml
	whose hosts.Mine  // of hosts.toml
	// odd says why nothing is written there, "" where it is a directory.
	odd string
	// more says that there are other files beside hosts.toml. It is known
	// only of namespaces that are not in the map.
	more bool
}

// kubeletFiles are the kubelet's configurations of credential providers.
type kubeletFiles struct {
	dir   bool // the configuration is a directory
	mode  fs.FileMode
	files map[string][]byte // by name; for a file its base name
}

// observe reads the node. wanted are the namespaces of the map.
func (n *Node) observe(hostsDir, kubeletConfig string, wanted map[string]hosts.File) (observed, error) {
	var o observed
	var err error
	if o.namespaces, err = n.readTree(n.path(hostsDir), wanted); err != nil {
		return o, err
	}
	if o.routes, err = n.readRoutes(); err != nil {
		return o, err
	}
	if o.kubelet, err = readKubeletFiles(n.path(kubeletConfig)); err != nil {
		return o, err
	}
	if o.state, err = n.readState(); err != nil {
		return o, err
	}
	config := n.path(kubeletConfig)
	if !o.kubelet.dir {
		config = filepath.Dir(config)
	}
	for _, dir := range []string{n.path(hostsDir), n.path(routesDir), n.path(savedDir), n.path(stateDir), config} {
		left, err := leftovers(dir)
		if err != nil {
			return o, err
		}
		o.leftovers = append(o.leftovers, left...)
	}
	return o, nil
}

// readTree reads the namespaces below dir, all of them: one that is not in the
// map any more may be ours.
func (n *Node) readTree(dir string, wanted map[string]hosts.File) (map[string]namespace, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	entries = without(entries, func(e fs.DirEntry) bool { return strings.HasPrefix(e.Name(), temporary) })
	list := make([]namespace, len(entries))
	err = inParallel(len(entries), func(i int) error {
		name := entries[i].Name()
		_, inMap := wanted[name]
		var err error
		list[i], err = readNamespace(filepath.Join(dir, name), entries[i], !inMap)
		return err
	})
	tree := make(map[string]namespace, len(entries))
	for i, e := range entries {
		tree[e.Name()] = list[i]
	}
	return tree, err
}

func readNamespace(path string, entry fs.DirEntry, removable bool) (namespace, error) {
	var ns namespace
	switch {
	case entry.Type()&fs.ModeSymlink != 0:
		ns.odd = "it is a symbolic link"
	case !entry.IsDir():
		ns.odd = "it is not a directory"
		return ns, nil
	}
	// Not blocking: a pipe of that name would hold us for ever.
	f, err := os.OpenFile(filepath.Join(path, hosts.FileName), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return ns, nil
	}
	if err != nil {
		return ns, describe(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ns, describe(err)
	}
	if !info.Mode().IsRegular() {
		ns.odd = hosts.FileName + " in it is not a file"
		return ns, nil
	}
	ns.mode = info.Mode().Perm()
	ns.hosts = make([]byte, info.Size())
	if len(ns.hosts) > 0 {
		if k, err := f.Read(ns.hosts); err != nil || k != len(ns.hosts) {
			return ns, describe(&fs.PathError{Op: "read", Path: f.Name(), Err: errors.Join(err, errShort)})
		}
	}
	ns.whose = hosts.Whose(ns.hosts)
	if removable && ns.whose == hosts.Ours {
		beside, err := readDir(path)
		if err != nil {
			return ns, err
		}
		ns.more = len(beside) > 1
	}
	return ns, nil
}

var errShort = errors.New("it changed while it was read; run this again")

// readRoutes reads the route files, by the namespaces in their names.
func (n *Node) readRoutes() (map[string][]byte, error) {
	dir := n.path(routesDir)
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	entries = without(entries, func(e fs.DirEntry) bool { return !strings.HasSuffix(e.Name(), ".json") })
	data := make([][]byte, len(entries))
	err = inParallel(len(entries), func(i int) error {
		var err error
		if data[i], err = os.ReadFile(filepath.Join(dir, entries[i].Name())); err != nil {
			return describe(err)
		}
		return nil
	})
	routes := make(map[string][]byte, len(entries))
	for i, e := range entries {
		routes[strings.TrimSuffix(e.Name(), ".json")] = data[i]
	}
	return routes, err
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

func readDir(path string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	return entries, nil
}

func without(entries []fs.DirEntry, drop func(fs.DirEntry) bool) []fs.DirEntry {
	kept := entries[:0]
	for _, e := range entries {
		if !drop(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// inParallel calls do for 0 to count-1 on a few goroutines and returns one of
// the errors.
func inParallel(count int, do func(int) error) error {
	workers := min(runtime.GOMAXPROCS(0), 1+count/64)
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < count; i += workers {
				if err := do(i); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
