package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// readLinks returns the names of mirrorcred's links to the plugin.
func (n *Node) readLinks(o *plan.Observed, binDir string) (map[string]bool, error) {
	list, err := n.list(o, binDir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range list {
		if !plan.IsTokenProvider(e.Name()) || e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		if to, err := n.tree.Readlink(filepath.Join(binDir, e.Name())); err == nil && to == plan.PluginName {
			names[e.Name()] = true
		}
	}
	return names, nil
}

// checkLink returns an error if a provider's executable is not a link to the
// plugin. The error is [fs.ErrNotExist] if it is missing.
func (n *Node) checkLink(place, binDir string) error {
	name := n.path(place)
	info, err := n.tree.Stat(name)
	if err != nil {
		if _, gone := n.tree.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
			return fs.ErrNotExist
		}
		return notLink(name, "it leads nowhere")
	}
	if plugin, err := n.tree.Stat(n.path(binDir, plan.PluginName)); err != nil || !os.SameFile(info, plugin) {
		return notLink(name, "it is something else")
	}
	return nil
}

// notLink returns the fault of a file in the place of a link to the plugin.
func notLink(name, found string) error {
	return &fault.Fault{
		What: fmt.Sprintf("a file is in the place of a link to %s", plan.PluginName), Where: name, Found: found, Fix: "remove it", Until: plan.NotApplied,
	}
}

// restoreLinks makes the links that restored providers need.
func (n *Node) restoreLinks(binDir string, entries []plan.Entry) error {
	var files []file
	for _, e := range entries {
		place := n.path(binDir, e.Name)
		if _, err := n.tree.Lstat(place); plan.IsTokenProvider(e.Name) && errors.Is(err, fs.ErrNotExist) {
			files = append(files, file{path: place, data: []byte(plan.PluginName), link: true})
		}
	}
	return n.disk.write(files)
}
