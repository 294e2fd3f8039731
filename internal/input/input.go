// Package input opens every file that mirrorcred reads.
//
// A path that should lead to a file may lead to a FIFO, which blocks its
// reader; to a device, which has no end; or to a file that grows while it is
// read. A user who can write there could stop the program that way. So opening
// a file never blocks, the file must be a regular one before and after it is
// opened, and it is read up to a limit. An error names the file, what it is,
// and what to do.
//
// The package does not know what is in a file, and writes none. Start at
// [ReadFile]. Use [Open] for programs and logs, which are not read whole, and
// [Dir] for thousands of files in one directory.
package input

import (
	"fmt"
	"io"
	"io/fs"
)

// Max is the largest file, in bytes, that is read whole: 8 MiB, some ten times
// what 10,000 mirrors need.
const Max = 8 << 20

// ReadFile returns the contents of a regular file of at most max bytes; 0 means
// [Max]. It follows links. The error is a *[fs.PathError], which wraps an
// [*IrregularError] or an [*OversizeError] if that is the fault.
func ReadFile(path string, max int64) ([]byte, error) {
	data, _, err := Read(path, max)
	return data, err
}

// Read is [ReadFile] for a caller that also needs the mode, the owner, or the time of
// the file that was read. Sys of the [fs.FileInfo] is the same as in package os, but
// [os.SameFile] does not accept the value.
func Read(path string, max int64) ([]byte, fs.FileInfo, error) {
	return read(path, max, true)
}

// ReadNoFollow is [Read] for a file that must not be a symbolic link. The directories
// in its path may be links.
func ReadNoFollow(path string, max int64) ([]byte, fs.FileInfo, error) {
	return read(path, max, false)
}

// An IrregularError says that a path does not lead to a regular file.
type IrregularError struct{ Kind string } // such as "a FIFO"

// Error says what is there and what to do.
func (e *IrregularError) Error() string {
	return fmt.Sprintf("this is %s, not a file; put a regular file there, or name another path", e.Kind)
}

// irregular returns nil for a regular file.
func irregular(mode fs.FileMode) error {
	kind := ""
	switch {
	case mode.IsRegular():
		return nil
	case mode&fs.ModeDir != 0:
		kind = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a FIFO"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	case mode&fs.ModeSymlink != 0:
		kind = "a symbolic link"
	default:
		kind = "something special"
	}
	return &IrregularError{kind}
}

// An OversizeError says that a file is larger than the limit.
type OversizeError struct{ Max int64 } // in bytes

// Error says the limit and what to do.
func (e *OversizeError) Error() string {
	limit := fmt.Sprintf("%d bytes", e.Max)
	switch {
	case e.Max%(1<<20) == 0:
		limit = fmt.Sprintf("%d MiB", e.Max>>20)
	case e.Max%(1<<10) == 0:
		limit = fmt.Sprintf("%d KiB", e.Max>>10)
	}
	return fmt.Sprintf("this file is larger than %s, which is the limit here; make it smaller, or name another path", limit)
}

// readUpTo reads to the end, which must come within max bytes. size is the length that
// the file reports, which may be wrong: the files of /proc report 0.
func readUpTo(f io.Reader, size, max int64, room func(int) []byte) ([]byte, error) {
	if max == 0 {
		max = Max
	}
	if size > max {
		return nil, &OversizeError{max}
	}
	// One byte more than there is, so that a short read after all of it is the
	// end without another call.
	first := int(size) + 1
	if size == 0 {
		first = 512
	}
	data := room(first)[:0]
	for {
		n, err := f.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case int64(len(data)) > max:
			return nil, &OversizeError{max}
		case err == io.EOF, err == nil && n == 0:
			return data, nil
		case err != nil:
			return nil, err
		case len(data) == cap(data):
			data = append(data, 0)[:len(data)]
		case size > 0 && int64(len(data)) >= size:
			return data, nil
		}
	}
}

func fault(op, path string, err error) error {
	return &fs.PathError{Op: op, Path: path, Err: err}
}
