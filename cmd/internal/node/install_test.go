package node

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestInstall cuts the power, and kills the program, before each step of a
// file's replacement.
func TestInstall(t *testing.T) {
	killed := errors.New("killed")
	const name = "/etc/systemd/system/a.service"
	for last := 0; ; last++ {
		n := New(t.TempDir(), "", false)
		if err := n.Install(name, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		// The leftovers of a killed run do not matter.
		if err := os.WriteFile(n.path("/etc/systemd/system", temporary+"2"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		disk := &volatile{t: t, aside: t.TempDir(), unsafe: map[string]bool{}}
		steps := 0
		n.disk.step = func(op string, paths ...string) error {
			if steps == last {
				return killed
			}
			steps++
			disk.step(op, paths...)
			return nil
		}
		err := n.Install(name, []byte("new"), 0o644)
		if err != nil && !errors.Is(err, killed) {
			t.Fatal(err)
		}
		if err == nil {
			disk.checkDone()
		}
		disk.cut()
		got, readErr := os.ReadFile(n.path(name))
		if readErr != nil || string(got) != "new" && (err == nil || string(got) != "old") {
			t.Errorf("before step %d: the file holds %q, %v after a power cut; Install = %v", last, got, readErr, err)
		}
		n = New(n.Root, "", false)
		if err := n.Install(name, []byte("new"), 0o644); err != nil {
			t.Errorf("before step %d: again: %v", last, err)
		}
		if entries, err := os.ReadDir(n.path("/etc/systemd/system")); err != nil || len(entries) != 1 {
			t.Errorf("before step %d: %v is there, %v; want the file alone", last, entries, err)
		}
		if err == nil {
			return
		}
	}
}

// TestHold holds that a node is applied by the one who holds its place, and by no
// other.
func TestHold(t *testing.T) {
	n, _ := newNode(t, oneMap)
	release, err := n.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err != nil {
		t.Errorf("the holder: %v", err)
	}
	other := New(n.Root, "", false)
	other.LockTimeout = time.Millisecond
	if _, err := other.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "holds the lock") {
		t.Errorf("another: %v", err)
	}
	release()
	if _, err := other.Apply(t.Context()); err != nil {
		t.Errorf("after the release: %v", err)
	}
}
