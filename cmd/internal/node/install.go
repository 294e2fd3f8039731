package node

import (
	"io/fs"
	"path/filepath"
)

// Install puts a file that is no part of what a map asks for, such as a unit,
// into place on the node, whole or not at all.
func (n *Node) Install(path string, data []byte, mode fs.FileMode) error {
	path = n.path(path)
	dir := filepath.Dir(path)
	entries, err := readDir(dir)
	if err != nil {
		return err
	}
	if err := n.disk.discard(leftovers(dir, entries)); err != nil {
		return err
	}
	return n.disk.write([]file{{path: path, data: data, mode: mode}})
}
