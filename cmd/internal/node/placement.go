package node

import (
	"bytes"
	"debug/buildinfo"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Placement says where a node has the plugin.
type Placement struct {
	// Named are the entries of kubelet configurations that name it. A kubelet
	// does not start if one of its entries names a missing program.
	Named []Named `json:"named"`
	// Copies are what the kubelets' directories have under the plugin's names.
	Copies []Copy `json:"copies"`
}

// Named is one entry of a kubelet's configuration.
type Named struct {
	File string `json:"file"`
	Line int    `json:"line,omitempty"` // 0 if the file is not valid
	Name string `json:"name"`
}

// A Copy is a program in a kubelet's directory.
type Copy struct {
	Path string `json:"path"`
	// Ours says that it is mirrorcred's plugin, by what its build recorded, and a
	// file of its own: a link is not.
	Ours bool `json:"ours"`
}

// The places of the distributions in docs/nodes.md, for a node without a map that
// can be read. The map, the running kubelets and the files that start them name
// the others.
var (
	usualConfigs = []string{mirror.DefaultKubeletConfig, "/var/lib/kubelet/credential-provider.conf", "/etc/eks/image-credential-provider", rancherConfig}
	usualBinDirs = []string{mirror.DefaultBinDir, "/etc/eks/image-credential-provider", rancherBinDir}
)

// copyNames are the names of the plugin in a kubelet's directory: the second if it
// stands in for acr-credential-provider.
var copyNames = []string{plan.PluginName, mirror.Stock}

// pluginPackage is what a build of the plugin records as its main package.
const pluginPackage = "github.com/mirrorcred/mirrorcred/cmd/" + plan.PluginName

// Placement looks for the plugin in every place that the map, the running kubelets
// and the files that start them name, and in the usual ones. What cannot be read
// is an error: it may name the plugin.
func (n *Node) Placement() (Placement, error) {
	copies, err := n.copies()
	if err != nil {
		return Placement{}, err
	}
	configs, _, err := n.kubeletPlaces()
	if err != nil {
		return Placement{}, err
	}
	p := Placement{Named: []Named{}, Copies: copies}
	for _, config := range configs {
		named, err := n.namedIn(config)
		if err != nil {
			return Placement{}, err
		}
		p.Named = append(p.Named, named...)
	}
	return p, nil
}

// copies returns what the kubelets' directories have under the plugin's names.
func (n *Node) copies() ([]Copy, error) {
	_, dirs, err := n.kubeletPlaces()
	if err != nil {
		return nil, err
	}
	list := []Copy{}
	for _, dir := range dirs {
		for _, name := range copyNames {
			at := path.Join(dir, name)
			ours, err := n.isPlugin(at)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, describe(err)
			}
			list = append(list, Copy{at, ours})
		}
	}
	return list, nil
}

// kubeletPlaces returns the paths of kubelet configurations and of the directories
// of plugins, each once.
func (n *Node) kubeletPlaces() (configs, dirs []string, err error) {
	if err := n.checkRoot(); err != nil {
		return nil, nil, err
	}
	add := func(config, dir string) {
		configs, dirs = append(configs, config), append(dirs, dir)
	}
	// A map that cannot be read does not hide the other places.
	if m, _, err := n.readMap(); err == nil {
		add(m.Kubelet.Config, m.Kubelet.BinDir)
	}
	if !n.elsewhere {
		// Without /proc, as in a chroot in which an image is built, no kubelet is
		// seen; the files count anyway.
		running, _, err := n.host.kubelets()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, err
		}
		for _, k := range running {
			config, _ := flagOf(k, "image-credential-provider-config")
			dir, _ := flagOf(k, "image-credential-provider-bin-dir")
			add(config, dir)
		}
	}
	var f doctor.Flags
	n.inputs = &inputs{}
	n.readFlags(&f)
	return places(configs, f.Configs, usualConfigs), places(dirs, f.BinDirs, usualBinDirs), nil
}

// places returns the absolute paths in lists, each once, in their order.
func places(lists ...[]string) []string {
	var all []string
	for _, place := range slices.Concat(lists...) {
		if place = path.Clean(place); path.IsAbs(place) && !slices.Contains(all, place) {
			all = append(all, place)
		}
	}
	return all
}

// namedIn returns the entries of a configuration, a file or a directory, that name
// the plugin.
func (n *Node) namedIn(config string) ([]Named, error) {
	info, err := n.tree.Stat(n.path(config))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	names := []string{config}
	if info.IsDir() {
		entries, err := n.readDir(n.path(config))
		if err != nil {
			return nil, err
		}
		dir := map[string][]byte{}
		for _, e := range entries {
			dir[e.Name()] = nil
		}
		names = nil
		for _, f := range kubeletconfig.Files(dir) {
			names = append(names, path.Join(config, f.Name))
		}
	}
	var named []Named
	for _, name := range names {
		data, err := n.tree.ReadFile(n.path(name), 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, describe(err)
		}
		named = append(named, namedBy(name, data)...)
	}
	return named, nil
}

// namedBy returns the entries of one file that name the plugin. Of a file that the
// kubelet would not start with, each line that has the name counts.
func namedBy(file string, data []byte) []Named {
	entries, err := kubeletconfig.Read(kubeletconfig.File{Name: file, Data: data})
	var named []Named
	for _, e := range entries {
		if plan.IsOwn(e.Name) {
			named = append(named, Named{file, e.Line, e.Name})
		}
	}
	if err == nil || named != nil {
		return named
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		if text = bytes.TrimSpace(text); !bytes.HasPrefix(text, []byte("#")) && bytes.Contains(text, []byte(plan.PluginName)) {
			named = append(named, Named{file, line, plan.PluginName})
		}
	}
	return named
}

// isPlugin reports whether the file at a path is mirrorcred's plugin, and no link.
func (n *Node) isPlugin(at string) (bool, error) {
	info, err := n.tree.Lstat(n.path(at))
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	f, _, err := n.tree.Open(n.path(at))
	if err != nil {
		return false, err
	}
	defer f.Close()
	built, err := buildinfo.Read(f)
	return err == nil && built.Path == pluginPackage, nil
}

// mostPlugin is the largest plugin that is read, in bytes.
const mostPlugin = 128 << 20

// ErrNotPlugin says that a program is not a build of the plugin.
var ErrNotPlugin = errors.New("this file is not a build of " + plan.PluginName + "; name the one that was installed with this program")

// RefreshPlugin puts a build of the plugin in the place of each copy that is
// mirrorcred's, whole or not at all, and returns the paths of those that it changed.
// The error is [ErrNotPlugin] for another program.
func (n *Node) RefreshPlugin(program []byte) (changed []string, err error) {
	return n.refreshPlugin(program, func(path string) error { return n.Install(path, program, 0o755) })
}

// StalePlugins returns the paths of the copies that [Node.RefreshPlugin] would change. It
// changes nothing.
func (n *Node) StalePlugins(program []byte) ([]string, error) {
	return n.refreshPlugin(program, func(string) error { return nil })
}

func (n *Node) refreshPlugin(program []byte, install func(path string) error) (changed []string, err error) {
	if built, err := buildinfo.Read(bytes.NewReader(program)); err != nil || built.Path != pluginPackage {
		return nil, ErrNotPlugin
	}
	copies, err := n.copies()
	if err != nil {
		return nil, err
	}
	for _, c := range copies {
		if !c.Ours {
			continue
		}
		old, err := n.tree.ReadFile(n.path(c.Path), mostPlugin)
		if err != nil {
			return changed, describe(err)
		}
		if bytes.Equal(old, program) {
			continue
		}
		if err := install(c.Path); err != nil {
			return changed, err
		}
		changed = append(changed, n.path(c.Path))
	}
	return changed, nil
}
