package audit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A Log reads the lines of a log, in their order, and goes on where it ended
// when more have come, in the next file too when the log is moved away.
type Log struct {
	path string
	file *os.File // nil where there is no log yet
	at   int64    // how much of file was read
	rest []byte   // a line that has no end yet
}

// Open returns the log at path, from the beginning of the one that was moved
// away. A log that is not there yet has no lines.
func Open(path string) *Log { return &Log{path: path} }

// Exists reports whether there is a log.
func Exists(path string) bool {
	for _, name := range []string{path, path + old} {
		if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// Close closes the file that is open.
func (l *Log) Close() {
	if l.file != nil {
		l.file.Close()
	}
}

// Next calls f with each line that has come since the last call, without its
// end. It returns f's error, or that of reading.
func (l *Log) Next(f func(line []byte) error) error {
	if l.file == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	for l.file != nil {
		// Looked at before reading: what is written to a file that was
		// moved away comes before the next one is there, or with luck.
		moved := l.moved()
		if err := l.drain(f); err != nil || !moved {
			return err
		}
		l.file.Close()
		l.file = nil
		if err := l.use(l.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// begin opens the oldest file there is.
func (l *Log) begin() error {
	for _, name := range []string{l.path + old, l.path} {
		err := l.use(name)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (l *Log) use(name string) error {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "read", Path: name, Err: errors.New("not a regular file")}
	}
	if err != nil {
		f.Close()
		return err
	}
	l.file, l.at, l.rest = f, 0, nil
	return nil
}

// moved reports whether another file stands where the open one is to be.
func (l *Log) moved() bool {
	there, err := os.Stat(l.path)
	if err != nil {
		return false
	}
	mine, err := l.file.Stat()
	return err == nil && !os.SameFile(mine, there)
}

// drain reads to the end of the file. One that has become shorter was emptied,
// and is read from its beginning.
func (l *Log) drain(f func([]byte) error) error {
	if info, err := l.file.Stat(); err == nil && info.Size() < l.at {
		l.at, l.rest = 0, nil
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := l.file.ReadAt(buffer, l.at)
		l.at += int64(n)
		l.rest = append(l.rest, buffer[:n]...)
		for {
			line, rest, ok := bytes.Cut(l.rest, []byte{'\n'})
			if !ok {
				break
			}
			if err := f(line); err != nil {
				return err
			}
			l.rest = rest
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
