package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// backUpDir copies what containerd reads in another program's directory before
// mirrorcred shadows it: hosts.toml and the files in Docker's layout. The
// directory itself stays, and containerd reads it again once the mirror is
// gone. The copy is for the case that it is changed or removed until then. It
// is made whole or not at all, and named by its content, so that it is made
// once.
func (n *Node) backUpDir(dir string) error {
	files, err := n.readForBackup(dir)
	if err != nil || len(files) == 0 {
		return err
	}
	var all []byte
	for _, f := range files {
		all = fmt.Appendf(all, "%q %s\n", f.path, hosts.Hash(f.data))
	}
	place := n.path(plan.SavedDir, filepath.Base(dir)+"-"+hosts.Hash(all)[:12])
	if _, err := n.tree.Lstat(place); err == nil {
		return nil
	}
	if err := n.disk.mkdirAll(filepath.Dir(place), 0o700); err != nil {
		return err
	}
	built := n.disk.temporary(filepath.Dir(place))
	if err := n.disk.buildDir(built, files); err != nil {
		n.disk.tree.RemoveAll(built)
		return err
	}
	if err := n.disk.rename(built, place); err != nil {
		n.disk.tree.RemoveAll(built)
		return err
	}
	return n.disk.syncDir(filepath.Dir(place))
}

// readForBackup reads the files of a directory that containerd may read. It skips
// what is not a file, which containerd cannot read either.
func (n *Node) readForBackup(dir string) ([]file, error) {
	entries, err := n.tree.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	names := []string{hosts.FileName}
	for _, e := range entries {
		if !e.IsDir() && e.Name() != hosts.FileName {
			names = append(names, e.Name())
		}
	}
	var files []file
	for _, name := range append(names[:1:1], hosts.FindCerts(names).Files()...) {
		data, err := n.tree.ReadFile(filepath.Join(dir, name), 0)
		var irregular *input.IrregularError
		if errors.Is(err, fs.ErrNotExist) || errors.As(err, &irregular) {
			continue
		}
		if err != nil {
			return nil, describe(err)
		}
		files = append(files, file{path: name, data: data, mode: 0o600})
	}
	return files, nil
}

// buildDir makes a directory that only root may read, with files in it.
func (d *disk) buildDir(dir string, files []file) error {
	if err := d.mkdir(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if err := d.create(filepath.Join(dir, f.path), f, true); err != nil {
			return err
		}
	}
	return d.syncDir(dir)
}
