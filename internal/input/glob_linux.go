package input

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
)

// Glob is [filepath.Glob] below the root.
func (r *Root) Glob(pattern string) ([]string, error) {
	inside, ok := r.inside(pattern)
	if !ok {
		return filepath.Glob(pattern)
	}
	names, err := fs.Glob(rootFS{r}, inside)
	if errors.Is(err, path.ErrBadPattern) {
		err = filepath.ErrBadPattern
	}
	for i, name := range names {
		names[i] = filepath.Join(r.dir, name)
	}
	return names, err
}

// A rootFS is a root as a file system of package fs.
type rootFS struct{ r *Root }

func (f rootFS) at(name string) string { return filepath.Join(f.r.dir, name) }

// Open implements [fs.FS] for files.
func (f rootFS) Open(name string) (fs.File, error) {
	file, _, err := f.r.Open(f.at(name))
	return file, err
}

// Stat implements [fs.StatFS]. Like [filepath.Glob] it does not follow the last
// name.
func (f rootFS) Stat(name string) (fs.FileInfo, error) { return f.r.Lstat(f.at(name)) }

// ReadDir implements [fs.ReadDirFS].
func (f rootFS) ReadDir(name string) ([]fs.DirEntry, error) { return f.r.ReadDir(f.at(name)) }

// An entry is a directory entry that reads its information below the root too.
type entry struct {
	fs.DirEntry
	r   *Root
	dir string
}

// Info implements [fs.DirEntry].
func (e *entry) Info() (fs.FileInfo, error) { return e.r.Lstat(filepath.Join(e.dir, e.Name())) }
