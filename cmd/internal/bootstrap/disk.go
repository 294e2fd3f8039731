package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// maxFile is the largest file that is read: a program, with room to grow.
const maxFile = 256 << 20

// A disk changes the files of a node, each whole or not at all. Paths are the
// node's.
type disk struct {
	tree durable.Tree
	// step is called before each system call that changes something; its error
	// ends the run there. Only tests set it.
	step func(op, path string) error
	// unsynced are the directories whose last changes a power cut may undo.
	unsynced []string
}

func (d *disk) before(op, path string) error {
	if d.step == nil {
		return nil
	}
	return d.step(op, path)
}

// at returns where a path of the node is on this machine.
func (d *disk) at(path string) string { return d.tree.Path(path) }

// observe returns what is at a path, nil if nothing is. It does not follow a link.
func (d *disk) observe(path string) (*File, error) {
	info, err := d.tree.Lstat(d.at(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, describe(err)
	}
	f := &File{Mode: info.Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		f.UID, f.GID = int(st.Uid), int(st.Gid)
	}
	switch {
	case info.IsDir():
		f.Dir = true
	case info.Mode()&fs.ModeSymlink != 0:
		f.Link, err = d.tree.Readlink(d.at(path))
	default:
		f.Data, err = d.tree.ReadFile(d.at(path), maxFile)
	}
	if err != nil {
		return nil, describe(err)
	}
	return f, nil
}

// put replaces old at a path by new; nil means no file. The change survives a power cut
// once [disk.sync] returns; until then, either file is there, whole. put returns a
// [ChangedError] if old is no longer at the path.
func (d *disk) put(path string, old, new *File) error {
	switch now, err := d.observe(path); {
	case err != nil:
		return err
	case now.equal(new):
		return nil
	case !now.equal(old):
		return &ChangedError{Path: d.at(path)}
	}
	var err error
	switch {
	case new == nil:
		err = d.remove(path)
	case new.Dir && old == nil:
		err = d.mkdir(path, new)
	case new.Dir:
		err = d.chmodDir(path, new.Mode)
	default:
		err = d.replace(path, new)
	}
	if err != nil {
		return describe(err)
	}
	if dir := filepath.Dir(path); !slices.Contains(d.unsynced, dir) {
		d.unsynced = append(d.unsynced, dir)
	}
	return nil
}

// sync makes every change by put survive a power cut.
func (d *disk) sync() error {
	for _, dir := range d.unsynced {
		if err := d.syncDir(dir); err != nil {
			return err
		}
	}
	d.unsynced = nil
	return nil
}

// remove removes a file, or a directory unless something is in it.
func (d *disk) remove(path string) error {
	if err := d.before("remove", path); err != nil {
		return err
	}
	err := d.tree.Remove(d.at(path))
	if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
		return nil
	}
	return err
}

func (d *disk) mkdir(path string, f *File) error {
	if err := d.before("mkdir", path); err != nil {
		return err
	}
	return d.tree.Mkdir(d.at(path), f.Mode)
}

func (d *disk) chmodDir(path string, mode fs.FileMode) error {
	if err := d.before("chmod", path); err != nil {
		return err
	}
	return d.tree.ChmodDir(d.at(path), mode)
}

// replace builds a file beside its place and renames it there.
func (d *disk) replace(path string, f *File) error {
	name := scratch(path)
	if err := d.clean(path); err != nil {
		return err
	}
	if err := d.build(name, f); err != nil {
		return errors.Join(err, d.clean(path))
	}
	if err := d.before("rename", path); err != nil {
		return err
	}
	if err := d.tree.Rename(d.at(name), d.at(path)); err != nil {
		return errors.Join(err, d.clean(path))
	}
	return nil
}

func (d *disk) build(name string, f *File) error {
	if f.Link != "" {
		if err := d.before("symlink", name); err != nil {
			return err
		}
		return d.tree.Symlink(f.Link, d.at(name))
	}
	if err := d.before("create", name); err != nil {
		return err
	}
	file, err := d.tree.Create(d.at(name), 0o600)
	if err != nil {
		return err
	}
	return errors.Join(d.fill(file, name, f), file.Close())
}

// fill writes the file. Until it is whole, no other user can read it.
func (d *disk) fill(file *os.File, name string, f *File) error {
	if err := d.before("write", name); err != nil {
		return err
	}
	if _, err := file.Write(f.Data); err != nil {
		return err
	}
	if f.UID != os.Geteuid() || f.GID != os.Getegid() {
		if err := file.Chown(f.UID, f.GID); err != nil {
			return err
		}
	}
	if err := file.Chmod(f.Mode); err != nil {
		return err
	}
	if err := d.before("sync", name); err != nil {
		return err
	}
	return file.Sync()
}

// clean removes what a killed run left of a file that it was building.
func (d *disk) clean(path string) error {
	name := d.at(scratch(path))
	if _, err := d.tree.Lstat(name); err != nil {
		return nil
	}
	if err := d.before("remove", path); err != nil {
		return err
	}
	return describe(d.tree.Remove(name))
}

// scratch returns the name under which a file is built. It is always the same, so that
// the next run finds what a killed run left. No program reads a file of that name.
func scratch(path string) string {
	return filepath.Join(filepath.Dir(path), ".mirrorcred-bootstrap-"+hosts.Hash([]byte(path))[:12])
}

func (d *disk) syncDir(path string) error {
	if err := d.before("sync", path); err != nil {
		return err
	}
	if err := d.tree.SyncDir(d.at(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return describe(err)
	}
	return nil
}

// A ChangedError says that another program changed a file after it was read. The other
// program's change is kept.
type ChangedError struct{ Path string }

// Error returns the path, and what to do.
func (e *ChangedError) Error() string {
	return e.Path + " has just been changed by another program; run this again"
}

// describe adds the remedy to an error of the disk, and puts the path first.
func describe(err error) error {
	var path *fs.PathError
	if !errors.As(err, &path) {
		return err
	}
	switch {
	case errors.Is(path.Err, syscall.EROFS):
		return fmt.Errorf("%s: %w; remount it writable, or run this where the image is built", path.Path, path.Err)
	case errors.Is(path.Err, fs.ErrPermission):
		return fmt.Errorf("%s: %w; run this as root", path.Path, path.Err)
	case errors.Is(path.Err, syscall.ENOSPC):
		return fmt.Errorf("%s: %w; free some space and run this again, nothing was lost", path.Path, path.Err)
	}
	return fmt.Errorf("%s: %w", path.Path, path.Err)
}
