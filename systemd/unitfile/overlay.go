package unitfile

import (
	"maps"
	"path"
	"slices"
)

// An Overlay is files with some of them replaced or added, such as a change that is
// tried before it is written.
type Overlay struct {
	Files
	Over map[string][]byte // by path
}

// ReadFile implements [Files].
func (o Overlay) ReadFile(name string) ([]byte, error) {
	if data, ok := o.Over[name]; ok {
		return data, nil
	}
	return o.Files.ReadFile(name)
}

// Glob implements [Files]. The names are sorted.
func (o Overlay) Glob(pattern string) ([]string, error) {
	names, err := o.Files.Glob(pattern)
	if err != nil {
		return nil, err
	}
	names = slices.Clone(names)
	for _, name := range slices.Sorted(maps.Keys(o.Over)) {
		if isMatch, err := path.Match(pattern, name); err == nil && isMatch && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
