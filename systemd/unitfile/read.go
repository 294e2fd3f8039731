package unitfile

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// unitDirs are where systemd looks for units, the strongest first
// (systemd.unit(5)).
var unitDirs = []string{
	"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system",
}

// read reads what the files of a unit set.
func read(files Files, name string) (*service, error) {
	s := &service{name: name, set: map[string]setting{}}
	unit, err := s.readUnit(files)
	if err != nil {
		return s, err
	}
	for _, f := range append([]file{unit}, s.readDropIns(files)...) {
		s.add(f)
	}
	return s, nil
}

// A file is a file of the unit, with its path on the node.
type file struct {
	path string
	data []byte
}

// readUnit reads the unit's own file: the one in the strongest directory. An empty file
// or a link to /dev/null masks the unit.
func (s *service) readUnit(files Files) (file, error) {
	for _, dir := range unitDirs {
		f := file{path: path.Join(dir, s.name)}
		var err error
		f.data, err = files.ReadFile(f.path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		s.fault(f.path, err)
		if err != nil || len(f.data) == 0 {
			break
		}
		return f, nil
	}
	return file{}, fmt.Errorf("unit %s: %w", s.name, fs.ErrNotExist)
}

// fault notes that a file cannot be read.
func (s *service) fault(name string, err error) {
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.faults = append(s.faults, fmt.Errorf("%s: %w", name, bare(err)))
	}
}

// bare returns an error without its path, for a message that has the path already.
func bare(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// readDropIns reads the drop-ins in the order of their names; of two with one
// name, the one in the stronger directory.
func (s *service) readDropIns(files Files) []file {
	found := map[string]string{}
	for _, dir := range unitDirs {
		for _, sub := range []string{s.name + ".d", "service.d"} {
			list, _ := files.Glob(path.Join(dir, sub, "*.conf")) // the pattern is a good one
			for _, name := range list {
				if base := path.Base(name); found[base] == "" {
					found[base] = name
				}
			}
		}
	}
	var list []file
	for _, base := range slices.Sorted(maps.Keys(found)) {
		data, err := files.ReadFile(found[base])
		if s.fault(found[base], err); err == nil {
			list = append(list, file{found[base], data})
		}
	}
	return list
}

// joinLines joins lines that end in a backslash with the next one. It skips comments in
// between, and a comment that ends in a backslash does not continue.
func joinLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if trimmed := strings.TrimSpace(line); strings.HasPrefix(trimmed, "#") || strings.HasPrefix(trimmed, ";") {
			continue
		}
		if rest, more := strings.CutSuffix(line, `\`); more {
			b.WriteString(rest + " ")
			continue
		}
		b.WriteString(line + "\n")
	}
	return b.String()
}
