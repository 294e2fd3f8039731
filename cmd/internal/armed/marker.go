//go:build linux

package armed

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// Marker is the file that stops the plugin, and says why. It is in /run, which
// is writable even if the disk is not, and empty after a boot.
const Marker = "/run/mirrorcred/stopped"

// Stopped returns why the plugin is stopped, nil if there is no marker. An
// unreadable marker counts as one.
func Stopped(root string) error {
	name := filepath.Join(root, Marker)
	tree := input.NewRoot(root)
	_, err := tree.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		var why []byte
		if why, err = tree.ReadFile(name, 64<<10); err == nil {
			return fmt.Errorf("mirrorcred found that containerd does not read the mirrors (%s): %s", name, strings.TrimSpace(string(why)))
		}
	}
	if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		return err
	}
	return fmt.Errorf("%w; until it can be read, the plugin returns nothing; run \"mirrorcred apply\"", err)
}

// A Mark is the marker as it was at one moment; the zero Mark means that there
// was none.
type Mark struct {
	ino    uint64
	change int64
}

// Seen returns the marker as it is now.
func Seen(root string) Mark {
	info, err := input.NewRoot(root).Lstat(filepath.Join(root, Marker))
	if err != nil {
		return Mark{}
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	return Mark{st.Ino, st.Ctim.Nano()}
}

// Stop writes the marker, whole: it writes a temporary file and renames it,
// even over an existing marker, so that a [Resume] that saw the old one keeps
// the new one.
func Stop(root, why string) error {
	name := filepath.Join(root, Marker)
	tree := treeOf(root)
	err := tree.Replace(name, []byte(why+"\n"))
	if err == nil {
		return nil
	}
	// A full /run has no room for the reason, but still for a name.
	if mkdir := tree.Mkdir(name, 0o700); mkdir == nil || errors.Is(mkdir, fs.ErrExist) {
		return nil
	}
	return err
}

func treeOf(root string) durable.Tree { return durable.Tree{Root: input.NewRoot(root)} }

// Resume removes the marker that was seen before the node was found to be
// armed. A later marker stays.
func Resume(root string, seen Mark) error {
	name := filepath.Join(root, Marker)
	if _, err := input.NewRoot(root).Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("%w, so the plugin returns no credentials; make %s a directory, or remove it, and run this again", err, filepath.Dir(name))
	}
	now := Seen(root)
	if now == (Mark{}) {
		return nil
	}
	if now != seen {
		return fmt.Errorf("%s: another mirrorcred found meanwhile that containerd does not read the mirrors; run this again", filepath.Join(root, Marker))
	}
	return treeOf(root).RemoveAll(filepath.Join(root, Marker))
}
