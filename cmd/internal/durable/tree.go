// Package durable changes files on a disk, below the root of this machine or
// below a directory. No link leads out of that directory, even one that changes
// at that moment.
//
// Each function is one change. The caller knows in which order they make a file
// change whole or not at all. Start at [Tree].
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Tree is the machine's tree, or that of another root. Its paths are those of
// [input.Root]; the zero Tree is this machine's.
type Tree struct{ *input.Root }

// at calls f with the directory that a path is in and its last name there. Its
// error becomes a *[fs.PathError] with the path.
func (t Tree) at(op, path string, f func(dir int, base string) error) error {
	dir, base, err := t.Parent(path)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	return fault(op, path, ignoringEINTR(func() error { return f(dir, base) }))
}

func fault(op, path string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// ignoringEINTR calls a system call again if a signal interrupted it.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// Create makes a new file for writing, with the mode less the umask.
func (t Tree) Create(path string, mode fs.FileMode) (*os.File, error) {
	fd := -1
	err := t.at("open", path, func(dir int, base string) (err error) {
		fd, err = unix.Openat(dir, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

// OpenLock opens a file to lock, and creates it if it is missing. Only its
// owner can open it then: whoever can open it can lock it. A link or a FIFO in
// its place is an error.
func (t Tree) OpenLock(path string) (*os.File, error) {
	fd := -1
	err := t.at("open", path, func(dir int, base string) (err error) {
		fd, err = unix.Openat(dir, base, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
		return err
	})
	if errors.Is(err, unix.ELOOP) {
		err = fault("open", path, errors.New("this is a symbolic link, not a file; remove it"))
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault("open", path, errors.New("this is not a file; remove it"))
	}
	if err == nil {
		if uid, is := input.Stranger(info); is {
			err = fault("open", path, fmt.Errorf("it belongs to user %d, who could hold it for ever; run: chown root %s", uid, path))
		}
	}
	if err == nil && info.Mode().Perm() != 0o600 {
		err = f.Chmod(0o600)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Mkdir makes a directory with that mode, whatever the umask.
func (t Tree) Mkdir(path string, mode fs.FileMode) error {
	return t.at("mkdir", path, func(dir int, base string) error {
		if err := unix.Mkdirat(dir, base, uint32(mode.Perm())); err != nil {
			return err
		}
		fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Fchmod(fd, uint32(mode.Perm()))
	})
}

// MkdirAll makes a directory and its missing parents, which all users may
// enter.
func (t Tree) MkdirAll(path string, mode fs.FileMode) error {
	info, err := t.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fault("mkdir", path, unix.ENOTDIR)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := t.MkdirAll(filepath.Dir(path), mode|0o755); err != nil {
		return err
	}
	if err := t.Mkdir(path, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// ChmodDir sets the mode of a directory.
func (t Tree) ChmodDir(path string, mode fs.FileMode) error {
	return t.withDir("chmod", path, func(fd int) error { return unix.Fchmod(fd, uint32(mode.Perm())) })
}

// Symlink makes a link at path that leads to another path.
func (t Tree) Symlink(to, path string) error {
	return t.at("symlink", path, func(dir int, base string) error { return unix.Symlinkat(to, dir, base) })
}

// Rename renames a file or a directory, replacing what is at the new path. The
// path of its error is the new one.
func (t Tree) Rename(from, to string) error {
	old, oldBase, err := t.Parent(from)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	return t.at("rename", to, func(dir int, base string) error { return unix.Renameat(old, oldBase, dir, base) })
}

// RenameNew is Rename, but fails if there is something at the new path. On a
// file system that cannot do that, it is Rename.
func (t Tree) RenameNew(from, to string) error {
	old, oldBase, err := t.Parent(from)
	if err != nil {
		return err
	}
	defer unix.Close(old)
	return t.at("rename", to, func(dir int, base string) error {
		err := unix.Renameat2(old, oldBase, dir, base, unix.RENAME_NOREPLACE)
		if err == unix.EINVAL || err == unix.ENOSYS {
			err = unix.Renameat(old, oldBase, dir, base)
		}
		return err
	})
}

// Remove removes a file, a link or an empty directory.
func (t Tree) Remove(path string) error {
	return t.at("remove", path, remove)
}

func remove(dir int, base string) error {
	err := unix.Unlinkat(dir, base, 0)
	if err == unix.EISDIR || err == unix.EPERM {
		if rmdir := unix.Unlinkat(dir, base, unix.AT_REMOVEDIR); rmdir != unix.ENOTDIR {
			return rmdir
		}
	}
	return err
}

// RemoveAll removes what is at a path with all it contains. A missing path is
// not an error. It follows no link.
func (t Tree) RemoveAll(path string) error {
	err := t.at("remove", path, removeAll)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func removeAll(dir int, base string) error {
	err := remove(dir, base)
	if err != unix.ENOTEMPTY && err != unix.EEXIST {
		return err
	}
	fd, err := unix.Openat(dir, base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	d := os.NewFile(uintptr(fd), base)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := removeAll(fd, name); err != nil && err != unix.ENOENT {
			return err
		}
	}
	return unix.Unlinkat(dir, base, unix.AT_REMOVEDIR)
}

// Replace puts a file that only its owner can read into place, whole or not at
// all, with its directory if that is missing. It need not survive a power cut:
// it is for /run, which does not.
func (t Tree) Replace(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := t.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	name := filepath.Join(dir, ".mirrorcred-"+strconv.FormatUint(rand.Uint64(), 36))
	f, err := t.Create(name, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = t.Remove(name)
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.Rename(name, path)
}

// SyncDir makes what was created, renamed or removed in a directory survive a
// power cut.
func (t Tree) SyncDir(path string) error {
	return t.withDir("sync", path, unix.Fsync)
}

// SyncFS makes all that was written to the file system of a directory survive a
// power cut.
func (t Tree) SyncFS(path string) error {
	return t.withDir("sync", path, unix.Syncfs)
}

// Device returns the file system that a directory is on.
func (t Tree) Device(path string) (uint64, error) {
	info, err := t.Stat(path)
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, fault("stat", path, errors.ErrUnsupported)
	}
	return uint64(st.Dev), nil
}

// withDir calls f with a directory that is open.
func (t Tree) withDir(op, path string, f func(fd int) error) error {
	fd, err := t.OpenFD(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return fault(op, path, ignoringEINTR(func() error { return f(fd) }))
}
