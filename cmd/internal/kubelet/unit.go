package kubelet

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// execStart returns the absolute path of the program that a unit starts, from
// its files below root.
func execStart(root, unit string) (string, error) {
	c, err := unitfile.ReadCommand(files{root, input.NewRoot(root)}, unit)
	if err != nil {
		return "", err
	}
	if len(c.Argv) == 0 || !filepath.IsAbs(c.Argv[0]) {
		return "", fmt.Errorf("unit %s does not say which program it starts", unit)
	}
	return c.Argv[0], nil
}

// files are the files of a node below a root.
type files struct {
	root string
	tree *input.Root
}

func (f files) ReadFile(name string) ([]byte, error) {
	return f.tree.ReadFile(filepath.Join(f.root, name), 0)
}

func (f files) Glob(pattern string) ([]string, error) {
	list, err := f.tree.Glob(filepath.Join(f.root, pattern))
	for i, name := range list {
		list[i] = strings.TrimPrefix(name, f.root)
	}
	return list, err
}
