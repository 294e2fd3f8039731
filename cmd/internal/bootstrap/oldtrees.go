package bootstrap

import (
	"errors"
	"io/fs"
	"path"
	"syscall"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// dropOldTrees removes the hosts.toml files that mirrorcred wrote into directories
// which hosts_dir named before. containerd may read such a directory again once undo
// has put its configuration back, and would go to mirrors that get no credential any
// more. It returns the files that were edited, which stay.
func (n *Node) dropOldTrees(dirs []string) ([]Left, error) {
	var left []Left
	for _, dir := range dirs {
		entries, err := n.disk.tree.ReadDir(n.disk.at(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return left, describe(err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			name := path.Join(dir, e.Name(), hosts.FileName)
			f, err := n.disk.look(name)
			switch {
			case errors.Is(err, syscall.ENOTDIR), err == nil && (f == nil || !f.isRegular()):
				continue
			case err != nil:
				return left, err
			}
			switch hosts.OwnerOf(f.Data) {
			case hosts.Ours:
				err = n.dropNamespace(name, f)
			case hosts.Edited:
				left = append(left, Left{name, "it was edited since mirrorcred wrote it; remove its directory if containerd should use the source itself"})
			}
			if err != nil {
				return left, err
			}
		}
	}
	return left, n.disk.sync()
}

// dropNamespace removes a hosts.toml, and its directory if nothing else is in it.
func (n *Node) dropNamespace(name string, f *File) error {
	if err := n.disk.put(name, f, nil); err != nil {
		return err
	}
	if err := n.disk.sync(); err != nil {
		return err
	}
	if n.Made != nil {
		n.Made(Step{Text: "from the hosts_dir of before", Path: name, Old: f})
	}
	return describe(n.disk.remove(path.Dir(name)))
}
