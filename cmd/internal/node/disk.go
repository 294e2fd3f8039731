package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// temporary begins the names of what is being built. Such names are no hosts,
// no routes and no configurations, and what a killed run left of them is
// removed by the next one.
const temporary = ".mirrorcred-"

// manyFiles is how many files at once are synced by one sync of their whole
// file system instead of one each.
const manyFiles = 16

// A disk makes changes that are whole or not at all. It is the one place that
// changes a file.
type disk struct {
	// step is called before each system call that changes something, with
	// the paths that it is about; the error stops it there. nil in
	// production.
	step func(op string, paths ...string) error
	next int // number of the next temporary name
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
	// dir says that the file's directory is new: the two go into place at
	// once, since an empty directory would already be one that containerd
	// picks.
	dir bool
	// link says that it is a symbolic link, which leads to data.
	link bool
	// scratch is a directory on the same file system in which the file is
	// built; "" means the one that it goes into.
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
	if err != nil {
		for _, name := range built {
			if name != "" {
				os.RemoveAll(name)
			}
		}
	}
	return err
}

// buildAll builds files under temporary names, which it leaves in built.
func (d *disk) buildAll(built []string, files []file) error {
	batch := len(files) >= manyFiles
	for i, f := range files {
		scratch := f.scratch
		if scratch == "" {
			scratch = filepath.Dir(f.place())
		}
		if err := d.mkdirAll(scratch, 0o755); err != nil {
			return err
		}
		built[i] = d.temporary(scratch)
		if err := d.build(built[i], f, !batch); err != nil {
			return err
		}
	}
	if batch {
		return d.syncAll(built)
	}
	return nil
}

// build builds one file, or its directory with the file in it, at a name that
// nobody looks at.
func (d *disk) build(name string, f file, sync bool) error {
	if f.link {
		return d.symlink(string(f.data), name)
	}
	if !f.dir {
		return d.create(name, f.data, f.mode, sync)
	}
	if err := d.mkdir(name, dirMode(f.mode)); err != nil {
		return err
	}
	if err := d.create(filepath.Join(name, filepath.Base(f.path)), f.data, f.mode, sync); err != nil || !sync {
		return err
	}
	return d.syncDir(name)
}

// moveAll renames what was built into place, and takes it out of built.
func (d *disk) moveAll(built []string, files []file) error {
	places := make([]string, len(files))
	for i, f := range files {
		places[i] = f.place()
		if err := d.rename(built[i], places[i]); err != nil {
			return err
		}
		built[i] = ""
	}
	return d.syncParents(places)
}

func (d *disk) temporary(dir string) string {
	d.next++
	return filepath.Join(dir, temporary+strconv.Itoa(d.next))
}

// create writes a new file.
func (d *disk) create(name string, data []byte, mode fs.FileMode, sync bool) (err error) {
	if err := d.before("create", name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return describe(err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = describe(cerr)
		}
	}()
	if err := f.Chmod(mode); err != nil { // whatever the umask
		return describe(err)
	}
	if err := d.before("write", name); err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
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

// symlink makes a link that leads to a path. It needs no sync of its own.
func (d *disk) symlink(to, name string) error {
	if err := d.before("symlink", name); err != nil {
		return err
	}
	if err := os.Symlink(to, name); err != nil {
		return describe(&fs.PathError{Op: "symlink", Path: name, Err: errors.Unwrap(err)})
	}
	return nil
}

// dirMode returns the mode of the directory of a file: as open as the file.
func dirMode(mode fs.FileMode) fs.FileMode {
	if mode&0o077 == 0 {
		return 0o700
	}
	return 0o755
}

// remove removes files that may not be there, and returns when they would not
// be back after a power cut.
func (d *disk) remove(paths []string) error {
	for _, path := range paths {
		if err := d.before("remove", path); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return describe(err)
		}
	}
	return d.syncParents(paths)
}

// removeDirs removes directories with what is in them. They are renamed out
// first: half removed they would be ones that containerd picks.
func (d *disk) removeDirs(paths []string) error {
	out := make([]string, len(paths))
	for i, path := range paths {
		out[i] = d.temporary(filepath.Dir(path))
		if err := d.rename(path, out[i]); err != nil {
			return err
		}
	}
	if err := d.syncParents(paths); err != nil {
		return err
	}
	return d.discard(out)
}

// discard removes what nobody looks at.
func (d *disk) discard(paths []string) error {
	for _, path := range paths {
		if err := d.before("remove", path); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return describe(err)
		}
	}
	return nil
}

// leftovers returns those entries of a directory that a killed run left there.
func leftovers(dir string, entries []fs.DirEntry) []string {
	var list []string
	for _, e := range entries {
		if isTemporary(e) {
			list = append(list, filepath.Join(dir, e.Name()))
		}
	}
	return list
}

// IsTemporary reports whether a name is that of something being built, which is
// nothing to anybody else.
func IsTemporary(name string) bool { return strings.HasPrefix(name, temporary) }

func isTemporary(e fs.DirEntry) bool { return IsTemporary(e.Name()) }

func (d *disk) rename(from, to string) error {
	if err := d.before("rename", from, to); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		var link *os.LinkError
		if errors.As(err, &link) {
			return describe(&fs.PathError{Op: "rename", Path: to, Err: link.Err})
		}
		return err
	}
	return nil
}
