package node

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// remove removes files that may not exist, and returns when a power cut can no
// longer bring them back.
func (d *disk) remove(paths []string) error {
	var gone []string
	var err error
	for _, path := range paths {
		if err = d.follow.stopped(); err != nil {
			break
		}
		if err = d.expected.check(d.tree, path); err == nil {
			err = d.removeOne(path)
		}
		if err != nil {
			if !d.follow.refuses(path, err) {
				return err
			}
			err = nil
			continue
		}
		gone = append(gone, path)
		d.follow.did(path)
	}
	return errors.Join(d.syncParents(gone), err)
}

// removeOne removes a file or an empty directory that may not exist.
func (d *disk) removeOne(path string) error {
	if err := d.before("remove", path); err != nil {
		return err
	}
	if err := d.tree.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return describe(err)
	}
	return nil
}

// removeDirs removes directories with all they contain. They are renamed first,
// because containerd would pick half a directory. One that cannot be renamed,
// such as in the lower layer of an overlay, is removed file by file.
func (d *disk) removeDirs(paths []string) error {
	var out, gone []string
	var err error
	for _, path := range paths {
		if err = d.follow.stopped(); err != nil {
			break
		}
		aside := d.temporary(filepath.Dir(path))
		if err = d.rename(path, aside); err == nil {
			out = append(out, aside)
		} else if isOwnFault(err) {
			err = d.removeInPlace(path)
		}
		if err != nil {
			if !d.follow.refuses(path, err) {
				return err
			}
			err = nil
			continue
		}
		gone = append(gone, path)
		d.follow.did(path)
	}
	if err2 := d.syncParents(gone); err2 != nil {
		return errors.Join(err2, err)
	}
	return errors.Join(d.discard(out, nil), err)
}

// removeInPlace removes a directory file by file, hosts.toml first: from then on
// containerd asks the source itself, without a credential, as it will when the
// directory is gone.
func (d *disk) removeInPlace(dir string) error {
	entries, err := d.tree.ReadDir(dir)
	if err != nil {
		return describe(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() == hosts.FileName {
			names = slices.Insert(names, 0, e.Name())
		} else {
			names = append(names, e.Name())
		}
	}
	for _, name := range names {
		if err := d.removeOne(filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := d.syncDir(dir); err != nil {
		return err
	}
	return d.removeOne(dir)
}

// discard removes what no program reads. It calls keep, which may be nil, with
// what it cannot remove, such as an immutable file.
func (d *disk) discard(paths []string, keep func(path string, err error)) error {
	for _, path := range paths {
		if err := d.before("remove", path); err != nil {
			return err
		}
		err := d.tree.RemoveAll(path)
		switch {
		case err == nil:
		case !isOwnFault(err):
			return describe(err)
		case keep != nil:
			keep(path, describe(err))
		}
	}
	return nil
}
