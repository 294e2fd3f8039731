package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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
	// step is called before each system call that changes something; the
	// error stops it there. nil in production.
	step func(op, path string) error
	next int // number of the next temporary name
}

func (d *disk) before(op, path string) error {
	if d.step == nil {
		return nil
	}
	return d.step(op, path)
}

// A file is bytes to put somewhere.
type file struct {
	path string // on this machine
	data []byte
	mode fs.FileMode
	// scratch is a directory on the same file system in which the file is
	// built; "" means the file's own.
	scratch string
}

// write puts files into place in their order, each whole or not at all, and
// returns when all of them would survive a power cut.
func (d *disk) write(files []file) error {
	if len(files) == 0 {
		return nil
	}
	batch := len(files) >= manyFiles
	built := make([]string, len(files))
	defer func() {
		for _, name := range built {
			if name != "" {
				os.RemoveAll(name)
			}
		}
	}()
	for i, f := range files {
		var err error
		if built[i], err = d.build(f, !batch); err != nil {
			return err
		}
	}
	if batch {
		if err := d.syncAll(built); err != nil {
			return err
		}
	}
	for i, f := range files {
		if err := d.rename(built[i], f.path); err != nil {
			return err
		}
		built[i] = ""
	}
	return d.syncParents(files, batch)
}

// build writes a file under a temporary name, which it returns.
func (d *disk) build(f file, sync bool) (name string, err error) {
	scratch := f.scratch
	if scratch == "" {
		scratch = filepath.Dir(f.path)
	}
	if err := d.mkdirAll(scratch, 0o755); err != nil {
		return "", err
	}
	name = d.temporary(scratch)
	return name, d.create(name, f.data, f.mode, sync)
}

func (d *disk) temporary(dir string) string {
	d.next++
	return filepath.Join(dir, temporary+strconv.Itoa(d.next))
}

// create writes a new file at a name that is not looked at yet.
func (d *disk) create(name string, data []byte, mode fs.FileMode, sync bool) (err error) {
	if err := d.before("create", name); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return describe(err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = describe(cerr)
		}
		if err != nil {
			os.Remove(name)
		}
	}()
	if err := f.Chmod(mode); err != nil { // whatever the umask
		return describe(err)
	}
	if _, err := f.Write(data); err != nil {
		return describe(err)
	}
	if sync {
		if err := f.Sync(); err != nil {
			return describe(err)
		}
	}
	return nil
}

// writeDir puts a new directory with one file into place, both at once: an
// empty directory would already be one that containerd picks.
func (d *disk) writeDir(dirs []file) error {
	if len(dirs) == 0 {
		return nil
	}
	batch := len(dirs) >= manyFiles
	built := make([]string, len(dirs))
	defer func() {
		for _, name := range built {
			if name != "" {
				os.RemoveAll(name)
			}
		}
	}()
	for i, f := range dirs {
		parent := filepath.Dir(filepath.Dir(f.path))
		if err := d.mkdirAll(parent, 0o755); err != nil {
			return err
		}
		built[i] = d.temporary(parent)
		if err := d.mkdir(built[i], dirMode(f.mode)); err != nil {
			return err
		}
		if err := d.create(filepath.Join(built[i], filepath.Base(f.path)), f.data, f.mode, !batch); err != nil {
			return err
		}
		if !batch {
			if err := d.syncDir(built[i]); err != nil {
				return err
			}
		}
	}
	if batch {
		if err := d.syncAll(built); err != nil {
			return err
		}
	}
	parents := make([]file, len(dirs))
	for i, f := range dirs {
		dir := filepath.Dir(f.path)
		if err := d.rename(built[i], dir); err != nil {
			return err
		}
		built[i], parents[i].path = "", dir
	}
	return d.syncParents(parents, batch)
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
	files := make([]file, len(paths))
	for i, path := range paths {
		if err := d.before("remove", path); err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return describe(err)
		}
		files[i].path = path
	}
	return d.syncParents(files, len(files) >= manyFiles)
}

// removeDir removes a directory with what is in it. It is renamed out first:
// half removed it would be one that containerd picks.
func (d *disk) removeDir(path string) error {
	out := d.temporary(filepath.Dir(path))
	if err := d.rename(path, out); err != nil {
		return err
	}
	if err := d.syncDir(filepath.Dir(path)); err != nil {
		return err
	}
	if err := d.before("remove", out); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return describe(err)
	}
	return nil
}

// sweep removes what a killed run left in a directory.
func (d *disk) sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return describe(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := d.before("remove", path); err != nil {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return describe(err)
		}
	}
	return nil
}

func (d *disk) rename(from, to string) error {
	if err := d.before("rename", to); err != nil {
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

func (d *disk) mkdir(path string, mode fs.FileMode) error {
	if err := d.before("mkdir", path); err != nil {
		return err
	}
	if err := os.Mkdir(path, mode); err != nil {
		return describe(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		return describe(err)
	}
	return nil
}

// mkdirAll makes a directory and those above it, and syncs what it made.
func (d *disk) mkdirAll(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil {
		if !info.IsDir() {
			return fmt.Errorf("%s: not a directory; move the file away or name another directory in the map", path)
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return describe(err)
	}
	if err := d.mkdirAll(filepath.Dir(path), mode); err != nil {
		return err
	}
	if err := d.mkdir(path, mode); err != nil {
		return err
	}
	return d.syncDir(filepath.Dir(path))
}

func (d *disk) syncDir(path string) error {
	if err := d.before("sync", path); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return describe(err)
	}
	defer f.Close()
	if err := f.Sync(); err != nil {
		return describe(err)
	}
	return nil
}

// syncParents syncs the directories of files, each once.
func (d *disk) syncParents(files []file, batch bool) error {
	seen := map[string]bool{}
	var dirs []string
	for _, f := range files {
		if dir := filepath.Dir(f.path); !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	if batch {
		return d.syncAll(dirs)
	}
	for _, dir := range dirs {
		if err := d.syncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// syncAll syncs the file systems that the paths are on, each once.
func (d *disk) syncAll(paths []string) error {
	seen := map[uint64]bool{}
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			return describe(&fs.PathError{Op: "stat", Path: path, Err: err})
		}
		if seen[st.Dev] {
			continue
		}
		seen[st.Dev] = true
		if err := d.before("sync", path); err != nil {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return describe(err)
		}
		err = unix.Syncfs(int(f.Fd()))
		f.Close()
		if err != nil {
			return describe(&fs.PathError{Op: "sync", Path: path, Err: err})
		}
	}
	return nil
}

func (d *disk) chmod(path string, mode fs.FileMode) error {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm() == mode {
		return nil
	}
	if err := d.before("chmod", path); err != nil {
		return err
	}
	if err := os.Chmod(path, mode); err != nil {
		return describe(err)
	}
	return nil
}
