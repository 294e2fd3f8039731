package containerdconfig

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// maxFiles ends imports that go on, such as through a link to the directory
// that holds it.
const maxFiles = 1000

// A load is the files of one configuration, read in containerd's order.
type load struct {
	line   line
	files  Files
	main   string
	inputs []Input
	read   []*file
}

// name returns a path of the node as a person knows it.
func (l *load) name(path string) string {
	if n, ok := l.files.(Namer); ok {
		return n.Name(path)
	}
	return path
}

// readAll reads the main file, what it imports, what those import, and so on. A
// path is read once; links are not followed to find out that two are one file
// (cmd/containerd/server/config/config.go LoadConfig, v2.4.2).
func (l *load) readAll() error {
	pending, seen := []string{l.main}, map[string]bool{}
	for len(pending) > 0 {
		name := pending[0]
		pending = pending[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		if len(seen) > maxFiles {
			return l.noStart(Position{File: l.main}, "import fewer files", fmt.Sprintf("its imports lead to more than %d files", maxFiles))
		}
		f, err := l.readFile(name)
		if err != nil || f == nil {
			return err
		}
		l.read = append(l.read, f)
		for _, entry := range f.imports {
			found, err := l.resolve(f, entry)
			if err != nil {
				return err
			}
			pending = append(pending, found...)
		}
	}
	return nil
}

// readFile returns nil for a main file that is not there.
func (l *load) readFile(name string) (*file, error) {
	data, err := l.files.ReadFile(name)
	missing := errors.Is(err, fs.ErrNotExist)
	l.inputs = append(l.inputs, Input{Path: name, Missing: missing})
	switch {
	case missing && name == l.main:
		return nil, nil
	case missing:
		at := l.importer(name)
		s := l.noStart(at, fmt.Sprintf("create the file, or remove it from imports in %s", l.name(at.File)), fmt.Sprintf("imports %q, which does not exist", name))
		s.Name = ImportMissing
		return nil, s
	case errors.Is(err, fs.ErrPermission):
		// containerd is root and reads it; that others cannot is as it should be.
		s := &StartError{Reason: *l.reason(Position{File: name}, "what containerd reads is not known", "run this as root", "permission denied").named(NotReadable)}
		s.cause = err
		return nil, s
	case err != nil:
		s := l.noStart(Position{File: name}, "make it a file that can be read", "cannot be read: "+err.Error())
		s.cause = err
		return nil, s
	}
	return l.decode(name, data)
}

// importer returns the first file that imports name, by its own path.
func (l *load) importer(name string) Position {
	for _, f := range l.read {
		for _, entry := range f.imports {
			full := importPath(f.path, entry)
			matches, err := path.Match(full, name)
			if full == name || strings.Contains(full, "*") && err == nil && matches {
				return Position{File: f.path, Line: f.lines("imports")}
			}
		}
	}
	return Position{File: name}
}

// resolve returns the files that an entry of imports names. Only "*" makes it a
// pattern; in one, all of Glob's rules hold.
func (l *load) resolve(f *file, entry string) ([]string, error) {
	name := importPath(f.path, entry)
	if !strings.Contains(name, "*") {
		return []string{name}, nil
	}
	l.inputs = append(l.inputs, Input{Path: name, Pattern: true})
	found, err := l.files.Glob(name)
	if err != nil {
		s := l.noStart(Position{File: f.path, Line: f.lines("imports")}, "correct the pattern", fmt.Sprintf("imports %q: %v", entry, err))
		s.cause = err
		return nil, s
	}
	return found, nil
}

// importPath returns where an entry of imports leads: from the directory of the
// file that imports, as that is spelled.
func importPath(by, entry string) string {
	entry = path.Clean(entry)
	if !path.IsAbs(entry) {
		entry = path.Join(path.Dir(by), entry)
	}
	return entry
}
