//go:build !linux

package input

import (
	"errors"
	"io/fs"
	"os"
)

// A Root is the directory that paths are below. Only Linux can keep links inside a
// directory while other programs change it (openat2), so on other systems the only root
// is the machine's own: see [NewRoot].
type Root struct{ dir string }

// NewRoot returns nil for the machine itself, if dir is "" or "/". Every method of
// another root fails.
func NewRoot(dir string) *Root {
	if dir == "" || dir == "/" {
		return nil
	}
	return &Root{dir}
}

// Check returns an error for every root but the machine's own.
func (r *Root) Check() error {
	if r == nil {
		return nil
	}
	return fault("open", r.dir, errors.New("links cannot be kept inside a directory on this system; leave out the root"))
}

// ReadFile is [ReadFile].
func (r *Root) ReadFile(name string, max int64) ([]byte, error) {
	data, _, err := r.Read(name, max)
	return data, err
}

// Read is [Read].
func (r *Root) Read(name string, max int64) ([]byte, fs.FileInfo, error) {
	if err := r.Check(); err != nil {
		return nil, nil, err
	}
	return Read(name, max)
}

// Stat is [os.Stat].
func (r *Root) Stat(name string) (fs.FileInfo, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return os.Stat(name)
}

// Resolve returns name as it is.
func (r *Root) Resolve(name string) (string, error) { return name, r.Check() }
