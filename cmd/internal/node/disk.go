package node

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strconv"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
)

// manyFiles is the number of files from which one sync of the whole file system
// replaces one for each file.
const manyFiles = 16

// A disk makes each change whole or not at all. It is the only place that
// changes files.
type disk struct {
	// step is called before each system call that changes something, with its
	// paths; an error stops the run there. nil in production.
	step func(op string, paths ...string) error
	next int // the number in the next temporary name
	// expected is what must still be at a path before it is renamed, replaced
	// or removed.
	expected expectations
	tree     durable.Tree
	follow   follower
}

func (d *disk) before(op string, paths ...string) error {
	if d.step == nil {
		return nil
	}
	return d.step(op, paths...)
}

// A file is bytes to put somewhere.
type file struct {
	path string // on this machine
	data []byte
	mode fs.FileMode
	// owner is whose the file is, such as that of the file it replaces; nil means
	// this process's user and group.
	owner *owner
	// dir says that the file's directory is new: both go into place at once, since
	// containerd would pick an empty directory.
	dir bool
	// link says that it is a symbolic link to data.
	link bool
	// scratch is the directory on the same file system in which the file is built;
	// "" means its own.
	scratch string
}

// place returns what is renamed into place: the file, or its directory.
func (f file) place() string {
	if f.dir {
		return filepath.Dir(f.path)
	}
	return f.path
}

// write puts files into place in their order, each whole or not at all, and
// returns when all of them would survive a power cut.
func (d *disk) write(files []file) error {
	if len(files) == 0 {
		return nil
	}
	built := make([]string, len(files))
	err := d.buildAll(built, files)
	if err == nil {
		err = d.moveAll(built, files)
	}
	for _, name := range built {
		if name != "" {
			d.tree.RemoveAll(name)
		}
	}
	return err
}

// buildAll builds files under temporary names, which it leaves in built.
func (d *disk) buildAll(built []string, files []file) error {
	batch := len(files) >= manyFiles
	var scratches []string
	for i, f := range files {
		if err := d.follow.stopped(); err != nil {
			return err
		}
		scratch := f.scratch
		if scratch == "" {
			scratch = filepath.Dir(f.place())
		}
		if err := d.mkdirAll(scratch, 0o755); err != nil {
			return err
		}
		scratches = append(scratches, scratch)
		built[i] = d.temporary(scratch)
		if err := d.build(built[i], f, !batch); err != nil {
			return err
		}
	}
	if batch {
		return d.syncAll(scratches)
	}
	return nil
}

// build builds one file, or its directory with the file in it, under a
// temporary name.
func (d *disk) build(name string, f file, sync bool) error {
	if f.link {
		return d.symlink(string(f.data), name)
	}
	if !f.dir {
		return d.create(name, f, sync)
	}
	if err := d.mkdir(name, dirMode(f.mode)); err != nil {
		return err
	}
	if err := d.create(filepath.Join(name, filepath.Base(f.path)), f, sync); err != nil || !sync {
		return err
	}
	return d.syncDir(name)
}

// moveAll renames what was built into place, and removes it from built.
func (d *disk) moveAll(built []string, files []file) error {
	var places []string
	var err error
	for i, f := range files {
		place := f.place()
		if err = d.follow.stopped(); err != nil {
			break
		}
		if err = d.rename(built[i], place); err != nil {
			if !d.follow.refuses(place, err) {
				return err
			}
			err = nil
			continue // what was built is removed with the rest
		}
		built[i] = ""
		places = append(places, place)
		d.follow.did(place)
	}
	return errors.Join(d.syncParents(places), err)
}

// temporary returns a free name in a directory. A taken one belongs to another
// program, or could not be removed.
func (d *disk) temporary(dir string) string {
	for {
		d.next++
		name := filepath.Join(dir, temporary+strconv.Itoa(d.next))
		if _, err := d.tree.Lstat(name); err != nil {
			return name
		}
	}
}

// create writes a new file under a name of its own.
func (d *disk) create(name string, content file, sync bool) (err error) {
	if err := d.before("create", name); err != nil {
		return err
	}
	f, err := d.tree.Create(name, 0o600)
	if err != nil {
		return describe(err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = describe(cerr)
		}
	}()
	if err := d.before("write", name); err != nil {
		return err
	}
	if _, err := f.Write(content.data); err != nil {
		return describe(err)
	}
	if err := d.give(f, name, content); err != nil {
		return err
	}
	// Not earlier: no other user may open a half-written file, or one that will be
	// closed to others. The umask does not matter.
	if err := f.Chmod(content.mode); err != nil {
		return describe(err)
	}
	if !sync {
		return nil
	}
	if err := d.before("sync", name); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return describe(err)
	}
	return nil
}

// symlink makes a link to a path. It needs no sync of its own.
func (d *disk) symlink(to, name string) error {
	if err := d.before("symlink", name); err != nil {
		return err
	}
	if err := d.tree.Symlink(to, name); err != nil {
		return describe(err)
	}
	return nil
}

// dirMode returns the mode of a file's directory: as open as the file.
func dirMode(mode fs.FileMode) fs.FileMode {
	if mode&0o077 == 0 {
		return 0o700
	}
	return 0o755
}

func (d *disk) rename(from, to string) error {
	if err := d.before("rename", from, to); err != nil {
		return err
	}
	if err := errors.Join(d.expected.check(d.tree, from), d.expected.check(d.tree, to)); err != nil {
		return err
	}
	rename, isNew := d.tree.Rename, d.expected.isNew(to)
	if isNew {
		rename = d.tree.RenameNew
	}
	if err := rename(from, to); isNew && errors.Is(err, fs.ErrExist) {
		return &ChangedError{to}
	} else if err != nil {
		return describe(err)
	}
	return nil
}
