// Package config holds what mirrorcred makes of containerd's configuration
// files (hosts/containerdconfig) against what each line of containerd makes of
// them: the line's own loader is asked, over random trees of files.
//
// It knows how such trees are made at random, how a loader is asked, and how a
// tree on which the two disagree is made small. It starts no containerd. Start
// at [Generator], then TestTrees.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Where a tree has things. Dir is the directory of hosts.toml files that is
// right; all others are wrong.
const (
	Main  = "/etc/containerd/config.toml"
	Dir   = "/etc/containerd/certs.d"
	Other = "/etc/other/certs.d"
)

// A Tree is a root directory with a configuration of containerd in it.
type Tree struct {
	Files map[string]*File  // by absolute path
	Links map[string]string // target by absolute path
	Dirs  []string          // directories with nothing in them
	Marks map[string]bool   // the constructs that are in it
}

// A File is a configuration file: a table and the way it is written, or bytes.
type File struct {
	Table map[string]any
	Style uint64 // the seed of the way
	Raw   string // the file's bytes, if not ""
	Mark  bool   // a byte order mark before all
}

func newTree() *Tree {
	return &Tree{Files: map[string]*File{}, Links: map[string]string{}, Marks: map[string]bool{}}
}

// Clone returns a tree that shares nothing with t.
func (t *Tree) Clone() *Tree {
	c := newTree()
	for name, f := range t.Files {
		g := *f
		if f.Table != nil {
			g.Table = cloneValue(f.Table).(map[string]any)
		}
		c.Files[name] = &g
	}
	maps.Copy(c.Links, t.Links)
	maps.Copy(c.Marks, t.Marks)
	c.Dirs = slices.Clone(t.Dirs)
	return c
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, e := range v {
			c[k] = cloneValue(e)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, e := range v {
			c[i] = cloneValue(e)
		}
		return c
	}
	return v
}

// Text returns the bytes of a file.
func (f *File) Text() string {
	text := f.Raw
	if text == "" {
		text = render(f.Table, f.Style)
	}
	if f.Mark {
		text = "\ufeff" + text
	}
	return text
}

// Write writes a tree below root.
func (t *Tree) Write(root string) error {
	for _, dir := range append(slices.Clone(t.Dirs), "/etc/containerd") {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for name, target := range t.Links {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for name, f := range t.Files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(f.Text()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// String shows a tree to a person.
func (t *Tree) String() string {
	var b strings.Builder
	for _, name := range slices.SortedFunc(maps.Keys(t.Files), mainFirst) {
		fmt.Fprintf(&b, "-- %s --\n%s\n", name, strings.TrimRight(t.Files[name].Text(), "\n"))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Links)) {
		fmt.Fprintf(&b, "-- %s -> %s --\n", name, t.Links[name])
	}
	for _, name := range t.Dirs {
		fmt.Fprintf(&b, "-- %s/ --\n", name)
	}
	return b.String()
}

func mainFirst(a, b string) int {
	if (a == Main) != (b == Main) {
		if a == Main {
			return -1
		}
		return 1
	}
	return cmp.Compare(a, b)
}

// asTable returns a file with the same text as a table that is written in some
// way, if it can be one.
func (f *File) asTable(style uint64) *File {
	table := map[string]any{}
	if f.Table != nil || f.Mark || toml.Unmarshal([]byte(f.Raw), &table) != nil {
		return f
	}
	return &File{Table: table, Style: style}
}

// ReadFile and Glob have a tree without links be containerdconfig's way to its
// files.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	f := t.Files[name]
	if f == nil {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return []byte(f.Text()), nil
}

// Glob returns the files that match a pattern.
func (t *Tree) Glob(pattern string) ([]string, error) {
	var found []string
	for _, name := range t.names() {
		is, err := path.Match(pattern, name)
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, name)
		}
	}
	return found, nil
}
