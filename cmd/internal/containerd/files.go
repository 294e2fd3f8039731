package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// files are the files of a node, each read once, so that all versions are
// judged by the same bytes.
type files struct {
	tree  *input.Root
	at    func(...string) string // the path on this machine of a path on the node
	read  map[string]content
	globs map[string]matches
	// programs are the sizes and times of the programs that were checked; nil for
	// a missing one.
	programs map[string]fs.FileInfo
	names    []string // of everything that was asked for, in that order
	overlay  map[string][]byte
}

type content struct {
	data []byte
	err  error
}

type matches struct {
	names []string
	err   error
}

func newFiles(at func(...string) string, tree *input.Root) *files {
	return &files{tree: tree, at: at, read: map[string]content{}, globs: map[string]matches{}, programs: map[string]fs.FileInfo{}}
}

// Name returns the path on this machine of a file of the node.
func (f *files) Name(path string) string { return f.at(path) }

// ReadFile returns the bytes of a file of the node.
func (f *files) ReadFile(name string) ([]byte, error) {
	c, ok := f.read[name]
	if !ok {
		if data, over := f.overlay[name]; over {
			c.data = data
		} else {
			c.data, c.err = f.tree.ReadFile(f.at(name), 0)
		}
		f.read[name], f.names = c, append(f.names, name)
	}
	return c.data, c.err
}

// Glob returns the files of the node that match a pattern.
func (f *files) Glob(pattern string) ([]string, error) {
	m, ok := f.globs[pattern]
	if !ok {
		m.names, m.err = f.tree.Glob(f.at(pattern))
		root := strings.TrimSuffix(f.at("/"), "/")
		for i, name := range m.names {
			m.names[i] = strings.TrimPrefix(name, root)
		}
		for name := range f.overlay {
			if is, err := path.Match(pattern, name); err == nil && is && !slices.Contains(m.names, name) {
				m.names = append(m.names, name)
			}
		}
		slices.Sort(m.names)
		f.globs[pattern], f.names = m, append(f.names, pattern)
	}
	return m.names, m.err
}

// inputs returns everything that was asked for, on this machine.
func (f *files) inputs() []string {
	list := make([]string, len(f.names))
	for i, name := range f.names {
		list[i] = f.at(name)
	}
	return list
}

// record returns the state of everything that was asked for, for later
// comparison: with the links on the way, and with what was missing.
func (f *files) record() ([]armed.File, error) {
	var list []armed.File
	for _, name := range f.names {
		if m, ok := f.globs[name]; ok {
			if m.err != nil {
				return nil, m.err
			}
			list = append(list, armed.NewMatches(name, m.names))
			continue
		}
		if c := f.read[name]; c.err == nil {
			list = append(list, armed.NewContent(name, c.data))
		} else if !errors.Is(c.err, fs.ErrNotExist) {
			return nil, c.err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.programs)) {
		if info := f.programs[name]; info != nil {
			list = append(list, armed.NewProgram(name, info))
		}
	}
	seen := map[string]bool{}
	for _, name := range slices.Concat(f.names, slices.Sorted(maps.Keys(f.programs))) {
		if _, ok := f.globs[name]; ok {
			continue
		}
		links, err := armed.NewLinks(f.tree, name)
		if err != nil {
			return nil, err
		}
		for _, link := range links {
			if !seen[link.Path] {
				seen[link.Path] = true
				list = append(list, link)
			}
		}
	}
	return list, f.unmoved(list)
}

// unmoved returns an error if what was read was removed before its links were
// read.
func (f *files) unmoved(list []armed.File) error {
	for _, one := range list {
		if c, ok := f.read[one.Path]; one.Kind == armed.Absent && ok && c.err == nil {
			return fmt.Errorf("%s has just been removed; run this again", f.at(one.Path))
		}
	}
	return nil
}
