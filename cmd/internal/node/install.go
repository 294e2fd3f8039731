package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// Installed returns what is at a path that [Node.Install] writes, nil if
// nothing is. A link is an error: the operator made it, for example to mask a
// unit.
func (n *Node) Installed(path string) ([]byte, error) {
	if err := n.checkRoot(); err != nil {
		return nil, err
	}
	path = n.path(path)
	info, err := n.tree.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, describe(err)
	case info.Mode()&fs.ModeSymlink != 0:
		to, _ := n.tree.Readlink(path)
		return nil, &LinkError{path, to}
	}
	data, err := n.tree.ReadFile(path, 0)
	if err != nil {
		return nil, describe(err)
	}
	return append([]byte{}, data...), nil
}

// A LinkError says that a file is a link, which the operator made.
type LinkError struct{ Path, To string }

// Error returns where it leads.
func (e *LinkError) Error() string { return fmt.Sprintf("%s: it is a link to %s", e.Path, e.To) }

// Install writes a file that does not come from a map, such as a unit, whole or
// not at all.
func (n *Node) Install(path string, data []byte, mode fs.FileMode) error {
	if err := n.checkRoot(); err != nil {
		return err
	}
	path = n.path(path)
	dir := filepath.Dir(path)
	entries, err := n.readDir(dir)
	if err != nil {
		return err
	}
	if err := n.disk.discard(leftovers(n.tree, dir, entries, data), nil); err != nil {
		return err
	}
	return n.disk.write([]file{{path: path, data: data, mode: mode}})
}
