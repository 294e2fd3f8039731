//go:build linux

package audit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Log reads the lines of a log in order. It continues where it ended once
// there are more, also in the next file if the log is rotated.
type Log struct {
	root *input.Root
	path string
	file *os.File // nil if there is no log yet
	at   int64    // how much of file was read
	rest []byte   // a line without its end so far
}

// Open returns the log at path, from the beginning of the one that was moved
// away. A missing log has no lines. No link leads out of the root, nil for this
// machine's own.
func Open(root *input.Root, path string) *Log { return &Log{root: root, path: path} }

// Exists reports whether there is a log.
func Exists(root *input.Root, path string) bool {
	for _, name := range []string{path, path + old} {
		if _, err := root.Stat(name); !errors.Is(err, fs.ErrNotExist) {
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

// Next calls f with each line since the last call, without its end. It returns
// f's error, or that of reading.
func (l *Log) Next(f func(line []byte) error) error {
	if l.file == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	for l.file != nil {
		// Checked before reading: nearly all that is written to a rotated file is
		// there before the next file exists.
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
	f, _, err := l.root.Open(name)
	if err != nil {
		return err
	}
	l.file, l.at, l.rest = f, 0, nil
	return nil
}

// moved reports whether another file has replaced the open one.
func (l *Log) moved() bool {
	there, err := l.root.Stat(l.path)
	if err != nil {
		return false
	}
	mine, err := l.file.Stat()
	return err == nil && !os.SameFile(mine, there)
}

// drain reads to the end of the file. A file that got shorter was truncated,
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
		if len(l.rest) > mostLine {
			// Too long for an event: it is skipped.
			l.rest = append(l.rest[:0], "..."...)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
