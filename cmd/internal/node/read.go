package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// A reader reads small files below one directory, of which there may be
// thousands: by the directory's descriptor, so that the kernel walks short
// paths, with four system calls where os.ReadFile needs seven, and into memory
// that many of them share. It is for one goroutine.
type reader struct {
	dir   string
	fd    int    // of dir
	spare []byte // not given away yet
}

// spareSize is how much memory is got at once.
const spareSize = 64 << 10

// read reads the file of a name. What is no regular file has a mode and no
// data; it is not waited for, as a pipe of that name would have us do.
func (r *reader) read(name string) ([]byte, fs.FileMode, error) {
	fail := func(op string, err error) ([]byte, fs.FileMode, error) {
		return nil, 0, &fs.PathError{Op: op, Path: filepath.Join(r.dir, name), Err: err}
	}
	fd, err := retry(func() (int, error) {
		return unix.Openat(r.fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return fail("open", err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return fail("stat", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, fs.ModeIrregular, nil
	}
	// One byte more than there is: a short read is the end.
	data := r.room(int(st.Size) + 1)
	for {
		n, err := retry(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return fail("read", err)
		}
		data = data[:len(data)+n]
		if len(data) < cap(data) {
			return data, fs.FileMode(st.Mode & 0o777), nil
		}
		data = append(data, 0)[:len(data)]
	}
}

// room returns an empty slice with that capacity.
func (r *reader) room(size int) []byte {
	if size > spareSize/8 {
		return make([]byte, 0, size)
	}
	if size > len(r.spare) {
		r.spare = make([]byte, spareSize)
	}
	data := r.spare[:0:size]
	r.spare = r.spare[size:]
	return data
}

// retry calls a system call again where a signal interrupted it.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func readDir(path string) ([]fs.DirEntry, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	return entries, nil
}

func without(entries []fs.DirEntry, drop func(fs.DirEntry) bool) []fs.DirEntry {
	kept := entries[:0]
	for _, e := range entries {
		if !drop(e) {
			kept = append(kept, e)
		}
	}
	return kept
}

// readAll calls do for each entry of a directory, on a few goroutines that have
// a reader each, and returns one of the errors.
func readAll(dir string, entries []fs.DirEntry, do func(r *reader, i int) error) error {
	if len(entries) == 0 {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return describe(err)
	}
	defer f.Close()
	fd := int(f.Fd())
	workers := min(runtime.GOMAXPROCS(0), 1+len(entries)/64)
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			r := reader{dir: dir, fd: fd}
			for i := w; i < len(entries) && errs[w] == nil; i += workers {
				errs[w] = do(&r, i)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
