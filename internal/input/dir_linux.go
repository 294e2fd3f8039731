package input

import (
	"io/fs"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Dir reads many small files below one directory. It opens them relative to the
// directory's descriptor, so the kernel walks short paths. Several goroutines may use
// it at once.
type Dir struct {
	path string
	fd   int
	root *Root // nil for this machine
}

// OpenDir opens a directory, which the caller closes. It follows links.
func OpenDir(path string) (*Dir, error) {
	fd, err := retry(func() (int, error) { return syscall.Open(path, openFlags|syscall.O_DIRECTORY, 0) })
	if err != nil {
		return nil, fault("open", path, err)
	}
	return &Dir{path: path, fd: fd}, nil
}

// OpenDir is [OpenDir] below the root. No link leads its files out of the root
// either.
func (r *Root) OpenDir(path string) (*Dir, error) {
	if _, ok := r.inside(path); !ok {
		return OpenDir(path)
	}
	fd, err := r.OpenFD(path, openFlags|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{path, fd, r}, nil
}

// Path returns the path of the directory.
func (d *Dir) Path() string { return d.path }

// Close closes the directory.
func (d *Dir) Close() error { return syscall.Close(d.fd) }

// ReadFile is [Read] for a name below the directory, with four system calls. It does
// not check what is there before it opens it, so use it only for directories that
// root alone can write to. room returns the memory for a file of that many bytes,
// which many files may share; nil allocates new memory for each.
func (d *Dir) ReadFile(name string, max int64, room func(size int) []byte) ([]byte, fs.FileInfo, error) {
	if room == nil {
		room = newRoom
	}
	fd, err := d.open(name)
	if err != nil {
		path := d.at(name)
		return nil, nil, fault("open", path, kindOf(path, true, err))
	}
	defer syscall.Close(fd)
	info, err := check(fd, name)
	if err != nil {
		return nil, nil, fault("open", d.at(name), err)
	}
	data, err := readUpTo(descriptor(fd), info.Size(), max, room)
	if err != nil {
		return nil, nil, fault("read", d.at(name), err)
	}
	return data, info, nil
}

// IsUnchanged reports, with one system call, whether a name leads without a link at its
// end to the file that [Dir.ReadFile] returned with was, and whether the kernel has noted
// no change of the file since. That is as good as the file's time: a change within the
// same tick of the clock, or through mapped memory, need not show.
func (d *Dir) IsUnchanged(name string, was fs.FileInfo) bool {
	old, ok := was.(*fileInfo)
	if !ok {
		return false
	}
	var now unix.Stat_t
	err := retryStat(func() error { return unix.Fstatat(d.fd, name, &now, unix.AT_SYMLINK_NOFOLLOW) })
	st := &old.stat
	return err == nil && now.Dev == st.Dev && now.Ino == st.Ino && now.Mode == st.Mode && now.Uid == st.Uid && now.Gid == st.Gid &&
		now.Size == st.Size && now.Mtim.Nano() == st.Mtim.Nano() && now.Ctim.Nano() == st.Ctim.Nano()
}

func (d *Dir) at(name string) string { return filepath.Join(d.path, name) }

// open opens a name. Below another root, a link is resolved from that root.
func (d *Dir) open(name string) (int, error) {
	if d.root == nil {
		return retry(func() (int, error) { return syscall.Openat(d.fd, name, openFlags, 0) })
	}
	if o, err := d.root.open(); err == nil && !o.byHand {
		fd, err := openat2(d.fd, name, openFlags, 0, noSymlinks|beneath)
		if err != syscall.ELOOP {
			return fd, err
		}
	}
	return d.root.openFD(d.at(name), openFlags, 0)
}
