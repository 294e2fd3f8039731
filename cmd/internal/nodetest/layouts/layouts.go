// Package layouts has the files of a node for each way in which nodes are set up,
// as far as they matter to mirrorcred: the kubelet's unit with its drop-ins and
// environment files, and containerd's configuration. They were written for the
// tests, by what the programs that set nodes up are known to write.
//
// Start at [Names] and [Write].
package layouts

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/txtar"
)

//go:embed *.txtar
var archives embed.FS

// Names returns the names of the layouts.
func Names() []string {
	list, err := archives.ReadDir(".")
	if err != nil {
		panic(err) // it is part of the program
	}
	var names []string
	for _, e := range list {
		names = append(names, strings.TrimSuffix(e.Name(), ".txtar"))
	}
	return names
}

// Files returns the files of a layout by their paths on the node.
func Files(name string) (map[string]string, error) {
	data, err := archives.ReadFile(name + ".txtar")
	if err != nil {
		return nil, fmt.Errorf("there is no layout %q: %w", name, err)
	}
	files := map[string]string{}
	for _, f := range txtar.Parse(data).Files {
		files["/"+f.Name] = string(f.Data)
	}
	return files, nil
}

// Write writes the files of a layout below a root, readable to all.
func Write(root, name string) error {
	files, err := Files(name)
	if err != nil {
		return err
	}
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
