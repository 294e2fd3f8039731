package node

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"
)

// readRegular reads a file of which there may be thousands: four system calls
// where os.ReadFile needs seven. What is no regular file has a mode and no
// data; it is not waited for, as a pipe of that name would have us do.
func readRegular(path string) ([]byte, fs.FileMode, error) {
	fail := func(op string, err error) ([]byte, fs.FileMode, error) {
		return nil, 0, &fs.PathError{Op: op, Path: path, Err: err}
	}
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0) })
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
	data := make([]byte, 0, st.Size+1)
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

// inParallel calls do for 0 to count-1 on a few goroutines and returns one of
// the errors.
func inParallel(count int, do func(int) error) error {
	workers := min(runtime.GOMAXPROCS(0), 1+count/64)
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < count; i += workers {
				if err := do(i); err != nil {
					errs[w] = err
					return
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}
