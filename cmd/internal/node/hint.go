package node

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// describe returns an error of the disk as a fault, with what to do if that is known.
func describe(err error) error {
	var at *fs.PathError
	if !errors.As(err, &at) {
		return err
	}
	what, fix := hint(at)
	found, own := fault.Split(at.Err.Error())
	return &fault.Fault{What: what, Where: at.Path, Found: found, Fix: cmp.Or(fix, own), Cause: at.Err}
}

// hint says what is wrong with the disk, and what to do, "" if that is not known.
func hint(err *fs.PathError) (what, fix string) {
	switch {
	case errors.Is(err, unix.EPERM):
		return "a file cannot be changed", forbidden(err.Path)
	case errors.Is(err, fs.ErrPermission):
		return "this user may not do that", "run this as root"
	case errors.Is(err, unix.EBUSY):
		return "a mount cannot be replaced or removed", "it is a mount point, or has one in it: unmount that"
	case errors.Is(err, unix.EXDEV):
		return "a file cannot be replaced", "it is on another file system than its replacement, or in the lower layer of an overlay: unmount it, or remove it by hand"
	case errors.Is(err, errIsDirectory):
		return "a directory is in the place of a file", "move it away, or name another path"
	case errors.Is(err, errNotDirectory):
		return "a file is in the place of a directory", "move it away, or name another path"
	case errors.Is(err, unix.ENOTEMPTY):
		return "a directory cannot be removed", "another program created a file there: move it away"
	case errors.Is(err, errReadOnly):
		return "the file system cannot be written", "remount it writable, or run this where the image is built"
	case errors.Is(err, errNoSpace), errors.Is(err, errQuota):
		return "the disk is full", "free some space and run this again; nothing was lost"
	}
	return "a file cannot be used", ""
}

// forbidden says what to do if the kernel forbids a change even to root: a
// file, or its directory, may be immutable.
func forbidden(path string) string {
	for _, at := range []string{path, filepath.Dir(path)} {
		if isImmutable(nil, at) {
			return "it is immutable: chattr -i -a " + at
		}
	}
	if os.Geteuid() != 0 {
		return "run this as root"
	}
	return "not even root may do that here: check the security modules, and whether the file system supports it"
}
