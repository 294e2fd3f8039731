package nodetest_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
)

// TestApplyAgain checks that nothing is written if nothing has changed: each
// file and directory keeps its inode and its time.
func TestApplyAgain(t *testing.T) {
	w := newWorld(t)
	text := toContoso
	for i := range 20 {
		text += fmt.Sprintf("\n[[mirror]]\nsource = \"registry%d.corp\"\ntargets = [\"contoso.azurecr.io/r%d\"]\n", i, i)
	}
	w.apply(text)
	before := w.snapshot()
	if got, want := w.apply(text), "in sync: 21 sources\n"; got != want {
		t.Errorf("apply again = %q; want %q", got, want)
	}
	// apply wrote the map itself anew; its time is not mirrorcred's.
	if after := w.snapshot(); !maps.Equal(after, before) {
		for _, path := range slices.Sorted(maps.Keys(after)) {
			if after[path] != before[path] {
				t.Errorf("%s: inode and time are %v; want %v", path, after[path], before[path])
			}
		}
	}
}

// snapshot returns the inode and the time of each file and directory that
// mirrorcred writes.
func (w *world) snapshot() map[string][2]int64 {
	w.Helper()
	seen := map[string][2]int64{}
	err := filepath.WalkDir(w.node.Root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == w.node.Path(nodetest.MapFile) {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		seen[path] = [2]int64{int64(info.Sys().(*syscall.Stat_t).Ino), info.ModTime().UnixNano()}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return seen
}
