package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// hint returns what to do about an error of the disk, with the semicolon before
// it, "" if that is not known.
func hint(err *fs.PathError) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "; " + forbidden(err.Path)
	case errors.Is(err, fs.ErrPermission):
		return "; run this as root"
	case errors.Is(err, unix.EBUSY):
		return "; it is a mount point, or has one in it: unmount that"
	case errors.Is(err, unix.EXDEV):
		return "; it is on another file system than its replacement, or in the lower layer of an overlay: unmount it, or remove it by hand"
	case errors.Is(err, errIsDirectory):
		return "; a directory is there instead of a file, so move it away or name another path"
	case errors.Is(err, errNotDirectory):
		return "; a file is there instead of a directory, so move it away or name another path"
	case errors.Is(err, unix.ENOTEMPTY):
		return "; another program created a file there: move it away"
	case errors.Is(err, errReadOnly):
		return "; remount it writable, or run this where the image is built"
	case errors.Is(err, errNoSpace), errors.Is(err, errQuota):
		return "; free some space and run this again; nothing was lost"
	}
	return ""
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
