package node

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A killed run leaves what it was building, under a temporary name. The next
// run removes it, but only if both the name and the content are mirrorcred's: a
// user may name a directory .mirrorcred-backup, or put a file into one.

// temporary is the prefix of temporary names; a number follows. Such a name is
// never that of a host, a route or a configuration.
const temporary = ".mirrorcred-"

// IsTemporary reports whether a name is temporary, which no other program
// reads.
func IsTemporary(name string) bool { return strings.HasPrefix(name, temporary) }

func isTemporary(e fs.DirEntry) bool { return IsTemporary(e.Name()) }

// isNumbered reports whether a name is one that a run chooses.
func isNumbered(name string) bool {
	number, ok := strings.CutPrefix(name, temporary)
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}

// leftovers returns the entries of a directory that a killed run left there.
// like are files of which a leftover may be a later version, whole or not. The list is in
// order.
func leftovers(tree *input.Root, dir string, entries []fs.DirEntry, like ...[]byte) []string {
	var list []string
	for _, e := range entries {
		if !isNumbered(e.Name()) {
			continue
		}
		if path := filepath.Join(dir, e.Name()); isLeftover(tree, path, e, like) {
			list = append(list, path)
		}
	}
	slices.Sort(list)
	return list
}

// isLeftover checks an entry with such a name.
func isLeftover(tree *input.Root, path string, e fs.DirEntry, like [][]byte) bool {
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		to, err := tree.Readlink(path)
		return err == nil && to == plan.PluginName
	case e.Type().IsRegular():
		return hasOurs(tree, path, like)
	case !e.IsDir():
		return false
	}
	entries, err := tree.ReadDir(path)
	if err != nil {
		return false
	}
	for _, e := range entries {
		name := filepath.Join(path, e.Name())
		if !e.Type().IsRegular() || e.Name() != hosts.FileName && filepath.Ext(e.Name()) != ".json" && !isOwn(path) || !hasOurs(tree, name, like) {
			return false
		}
	}
	return true
}

// isOwn reports whether a path is below the directory in which everything is
// mirrorcred's.
func isOwn(path string) bool { return strings.Contains(filepath.Dir(path)+"/", plan.StateDir+"/") }

// hasOurs reports whether a file holds what mirrorcred writes, or the beginning
// of it.
func hasOurs(tree *input.Root, path string, like [][]byte) bool {
	if isOwn(path) {
		return true
	}
	data, err := tree.ReadFile(path, 0)
	return err == nil && (hosts.MayBeOurs(data) || kubeletconfig.MayBeOurs(data) ||
		slices.ContainsFunc(like, func(one []byte) bool { return alike(data, one) }))
}

// likeness is how many bytes of two files are compared: mirrorcred's provider
// comes after the head of the kubelet's file.
const likeness = 64

// alike reports whether two files begin alike, as far as both go.
func alike(a, b []byte) bool {
	n := min(len(a), len(b), likeness)
	return bytes.Equal(a[:n], b[:n])
}

// whole returns the contents of files.
func whole(files map[string][]byte) [][]byte {
	var list [][]byte
	for _, data := range files {
		list = append(list, data)
	}
	return list
}
