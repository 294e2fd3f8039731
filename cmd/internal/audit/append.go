package audit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// mostBytes is the size from which a log is moved away.
const mostBytes = 10 << 20

// old is added to the name of the log that was moved away.
const old = ".1"

// Append adds an event to the log. It never waits: a named pipe, a lock or a
// full disk is an error at once. A missing directory is created, 0700, unless
// its parent is missing too. The caller may ignore the error.
func Append(path string, e Event) error { return appendTo(path, e, mostBytes) }

func appendTo(path string, e Event, most int64) error {
	line, err := e.Encode()
	if err != nil {
		return err
	}
	f, err := open(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(filepath.Dir(path)); err == nil {
			f, err = open(path)
		}
	}
	if err != nil {
		return err
	}
	if f, err = spacious(f, path, most); err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(line)
	return err
}

// spacious returns f, or its successor if it is full.
func spacious(f *os.File, path string, most int64) (*os.File, error) {
	info, err := f.Stat()
	switch {
	case err == nil && info.Size() < most:
		return f, nil
	case err == nil && rotate(f, path):
		f.Close()
		return open(path)
	case err == nil && info.Size() < 2*most:
		return f, nil
	}
	// It cannot be moved away, and must not fill the disk.
	f.Close()
	return nil, errors.Join(err, &fs.PathError{Op: "append", Path: path, Err: syscall.EFBIG})
}

func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.Chmod(dir, 0o700) // whatever the umask
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// open opens the log for appending, and creates it if missing. It follows no
// link, and does not wait for a pipe.
func open(path string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_APPEND | noFollow
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, 0o600); err == nil {
			f.Chmod(0o600) // whatever the umask
			return f, nil
		}
		if errors.Is(err, fs.ErrExist) {
			// Another run was faster.
			f, err = os.OpenFile(path, flags, 0)
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || followed(path, info) {
		f.Close()
		return nil, errors.Join(err, &fs.PathError{Op: "append", Path: path, Err: errors.New("not a regular file")})
	}
	return f, nil
}

// rotate moves a full log away and reports whether another one must be opened.
// If another program is rotating it, the full one takes one more line.
func rotate(f *os.File, path string) bool {
	if !tryLock(f) {
		return false
	}
	mine, err := f.Stat()
	there, errThere := os.Lstat(path)
	if errors.Is(errThere, fs.ErrNotExist) {
		return true
	}
	if err != nil || errThere != nil {
		return false
	}
	// Otherwise it was moved away before this run had the lock.
	if os.SameFile(mine, there) {
		return os.Rename(path, path+old) == nil
	}
	return true
}
