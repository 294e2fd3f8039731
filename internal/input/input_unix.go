//go:build unix

package input

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Open opens a regular file for reading, and follows links. It is for files that are
// not read whole: the caller limits what it reads.
func Open(path string) (*os.File, fs.FileInfo, error) {
	fd, info, err := open(path, true)
	if err != nil {
		return nil, nil, err
	}
	if err := syscall.SetNonblock(int(fd), false); err != nil {
		fd.Close()
		return nil, nil, fault("open", path, err)
	}
	return os.NewFile(uintptr(fd), path), info, nil
}

func read(path string, max int64, follow bool) ([]byte, fs.FileInfo, error) {
	fd, info, err := open(path, follow)
	if err != nil {
		return nil, nil, err
	}
	defer fd.Close()
	data, err := readUpTo(fd, info.Size(), max, newRoom)
	if err != nil {
		return nil, nil, fault("read", path, err)
	}
	return data, info, nil
}

func newRoom(size int) []byte { return make([]byte, size) }

// A descriptor is read with bare system calls. Package os would first register the file
// with the kernel's poller, which costs as much as the read.
type descriptor int

// Read implements [io.Reader], but that 0 without an error is the end.
func (fd descriptor) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return syscall.Read(int(fd), p) })
	return max(n, 0), err
}

// Close closes the file.
func (fd descriptor) Close() error { return syscall.Close(int(fd)) }

// open opens a regular file. It checks the path before it opens it, because opening a
// device can have an effect, such as starting a watchdog. It checks again what it has
// opened, because that may be another file.
func open(path string, follow bool) (descriptor, fs.FileInfo, error) {
	stat, flags := syscall.Stat, openFlags
	if !follow {
		stat, flags = syscall.Lstat, openFlags|syscall.O_NOFOLLOW
	}
	var st syscall.Stat_t
	err := retryStat(func() error { return stat(path, &st) })
	if err == nil {
		err = irregular(modeOf(&st))
	}
	if err != nil {
		return -1, nil, fault("open", path, err)
	}
	fd, err := retry(func() (int, error) { return syscall.Open(path, flags, 0) })
	if err != nil {
		return -1, nil, fault("open", path, kindOf(path, follow, err))
	}
	info, err := check(fd, filepath.Base(path))
	if err != nil {
		syscall.Close(fd)
		return -1, nil, fault("open", path, err)
	}
	return descriptor(fd), info, nil
}

// openFlags do not wait for the other end of a FIFO, and take no terminal.
const openFlags = syscall.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY | syscall.O_CLOEXEC

// kindOf turns the error about a socket, or about a link that is not followed, into an
// [*IrregularError] that names it.
func kindOf(path string, follow bool, err error) error {
	stat := syscall.Stat
	if !follow {
		stat = syscall.Lstat
	}
	var st syscall.Stat_t
	if (err == syscall.ENXIO || err == syscall.ELOOP && !follow) && stat(path, &st) == nil {
		if kind := irregular(modeOf(&st)); kind != nil {
			return kind
		}
	}
	return err
}

// check refuses an open file that is not regular.
func check(fd int, name string) (fs.FileInfo, error) {
	info := &fileInfo{name: name}
	if err := retryStat(func() error { return syscall.Fstat(fd, &info.stat) }); err != nil {
		return nil, err
	}
	return info, irregular(info.Mode())
}

// A fileInfo is the kernel's information about a file.
type fileInfo struct {
	name string
	stat syscall.Stat_t
}

func (f *fileInfo) Name() string       { return f.name }
func (f *fileInfo) Size() int64        { return f.stat.Size }
func (f *fileInfo) Mode() fs.FileMode  { return modeOf(&f.stat) }
func (f *fileInfo) ModTime() time.Time { return time.Unix(modTime(&f.stat)) }
func (f *fileInfo) IsDir() bool        { return f.Mode().IsDir() }
func (f *fileInfo) Sys() any           { return &f.stat }

func modeOf(st *syscall.Stat_t) fs.FileMode {
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
	case syscall.S_IFDIR:
		mode |= fs.ModeDir
	case syscall.S_IFIFO:
		mode |= fs.ModeNamedPipe
	case syscall.S_IFSOCK:
		mode |= fs.ModeSocket
	case syscall.S_IFBLK:
		mode |= fs.ModeDevice
	case syscall.S_IFCHR:
		mode |= fs.ModeDevice | fs.ModeCharDevice
	case syscall.S_IFLNK:
		mode |= fs.ModeSymlink
	default:
		mode |= fs.ModeIrregular
	}
	if st.Mode&syscall.S_ISUID != 0 {
		mode |= fs.ModeSetuid
	}
	if st.Mode&syscall.S_ISGID != 0 {
		mode |= fs.ModeSetgid
	}
	if st.Mode&syscall.S_ISVTX != 0 {
		mode |= fs.ModeSticky
	}
	return mode
}

// retry calls a system call again if a signal interrupted it.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func retryStat(call func() error) error {
	_, err := retry(func() (int, error) { return 0, call() })
	return err
}
