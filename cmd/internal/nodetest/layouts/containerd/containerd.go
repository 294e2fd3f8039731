// Package containerd has the files of containerd as distributions lay them out on
// their nodes, for tests of everything that reads or changes those. Each file of
// testdata is one layout, written for these tests. Start at [All].
package containerd

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

//go:embed testdata/*.txtar
var archives embed.FS

// A Layout is a node of one distribution.
type Layout struct {
	Name string
	// Containerd are the versions that the layout is found with, such as "2.2";
	// "" is one that is not known.
	Containerd []string
	// Map is what the map of such a node has besides its mirrors.
	Map string
	// Bake is what "mirrorcred bootstrap bake" does about containerd's
	// configuration: "nothing", "created", "drop-in", "block", or "refused", with
	// words that the refusal has; and Adopt is the same with --adopt, "" for no
	// difference.
	Bake, Adopt string
	Files       []File
}

// A File is one file of a layout.
type File struct {
	Path string
	Data []byte
	Mode fs.FileMode
	Link string // where it leads, if it is a symbolic link
}

// All returns the layouts, by name.
func All() ([]Layout, error) {
	entries, err := archives.ReadDir("testdata")
	if err != nil {
		return nil, err
	}
	var all []Layout
	for _, e := range entries {
		data, err := archives.ReadFile("testdata/" + e.Name())
		if err != nil {
			return nil, err
		}
		l, err := parse(strings.TrimSuffix(e.Name(), ".txtar"), data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", e.Name(), err)
		}
		all = append(all, l)
	}
	return all, nil
}

// parse reads a layout. The lines above the first file say "containerd:", "bake:"
// and "adopt:", and those that begin with "map:" are lines of the map. A file's name
// may be followed by its mode, or by "->" and where the link leads.
func parse(name string, data []byte) (Layout, error) {
	l := Layout{Name: name}
	archive := txtar.Parse(data)
	for line := range strings.Lines(string(archive.Comment)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "containerd":
			for _, v := range strings.Fields(value) {
				l.Containerd = append(l.Containerd, strings.TrimPrefix(v, "?"))
			}
		case "bake":
			l.Bake = value
		case "adopt":
			l.Adopt = value
		case "map":
			l.Map += value + "\n"
		}
	}
	for _, f := range archive.Files {
		file := File{Data: f.Data, Mode: 0o644}
		words := strings.Fields(f.Name)
		file.Path = words[0]
		switch {
		case len(words) == 3 && words[1] == "->":
			file.Link = words[2]
		case len(words) == 2:
			mode, err := strconv.ParseUint(words[1], 8, 32)
			if err != nil {
				return l, err
			}
			file.Mode = fs.FileMode(mode)
		}
		l.Files = append(l.Files, file)
	}
	if l.Bake == "" || len(l.Containerd) == 0 {
		return l, fmt.Errorf("the lines \"containerd:\" and \"bake:\" are missing")
	}
	return l, nil
}

// Write writes the files of the layout below a root.
func (l Layout) Write(root string) error {
	for _, f := range l.Files {
		name := filepath.Join(root, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		var err error
		if f.Link != "" {
			err = os.Symlink(f.Link, name)
		} else if err = os.WriteFile(name, f.Data, f.Mode); err == nil {
			err = os.Chmod(name, f.Mode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
