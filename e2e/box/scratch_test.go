package box

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// A run removes what killed runs left, and nothing that belongs to one that runs.
func TestKilledRunsCleanedUp(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	gone, dir := ended.Process.Pid, t.TempDir()
	want := []string{fmt.Sprint(prefix, gone), fmt.Sprintf("%s%d-123", prefix, gone)}
	for _, name := range append(want, ownName(), ownName()+"-123", prefix+"x", "other-1") {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, path := range abandoned(dir) {
		got = append(got, filepath.Base(path))
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("abandoned: %q; want %q", got, want)
	}
}
