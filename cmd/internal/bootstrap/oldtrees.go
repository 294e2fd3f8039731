package bootstrap

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"syscall"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// planOldTrees returns the steps that remove the hosts.toml files which mirrorcred wrote
// into directories that hosts_dir named before, and the files that stay because they
// were edited. containerd may read such a directory again once undo has put its
// configuration back, and would go to mirrors that get no credential any more.
func (n *Node) planOldTrees(dirs []string) (steps []Step, kept []Kept, err error) {
	for _, dir := range dirs {
		entries, err := n.disk.tree.ReadDir(n.disk.at(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, describe(err)
		}
		for _, e := range entries {
			if !e.IsDir() {
				continue
			}
			name := path.Join(dir, e.Name(), hosts.FileName)
			f, err := n.disk.observe(name)
			switch {
			case errors.Is(err, syscall.ENOTDIR), err == nil && (f == nil || !f.isRegular()):
				continue
			case err != nil:
				return nil, nil, err
			}
			switch hosts.OwnerOf(f.Data) {
			case hosts.Ours:
				steps = append(steps, Step{Text: "from the previous hosts_dir", Path: name, Old: f})
			case hosts.Edited:
				kept = append(kept, Kept{name, "it was edited since mirrorcred wrote it; remove its directory if containerd should use the source itself"})
			}
		}
	}
	return steps, kept, nil
}

// planOldTreesNow is [Node.planOldTrees] before the mirrors are removed.
func (b *Baking) planOldTreesNow(ctx context.Context) ([]Step, []Kept, error) {
	b.Mirrors.Empty = true
	defer func() { b.Mirrors.Empty = false }()
	p, err := b.Mirrors.Plan(ctx)
	if err != nil {
		return nil, nil, err
	}
	steps, kept, err := b.planOldTrees(p.Next.OldTrees)
	// A directory that the map has just left is not old yet: its files are removed
	// with the mirrors.
	return steps, kept, err
}

// dropOldTrees makes the steps of [Node.planOldTrees], and removes each namespace in
// which nothing else is.
func (n *Node) dropOldTrees(steps []Step) error {
	for _, s := range steps {
		if err := n.disk.put(s.Path, s.Old, nil); err != nil {
			return err
		}
		if err := n.disk.sync(); err != nil {
			return err
		}
		if n.Made != nil {
			n.Made(s)
		}
		if err := n.disk.remove(path.Dir(s.Path)); err != nil {
			return describe(err)
		}
	}
	return n.disk.sync()
}
