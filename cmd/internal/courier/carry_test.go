package courier

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// TestCarry follows one map to the host: what has a fault is not carried, and what
// lies there stays.
func TestCarry(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), "mirrors.toml"), filepath.Join(t.TempDir(), "mirrors.toml")
	c := &carrier{to: to}
	for _, step := range []struct {
		name, text, want, fault string
	}{
		{"first", mapA, mapA, ""},
		{"again", mapA, mapA, ""},
		{"changed", mapB, mapB, ""},
		{"with a fault", "version = 1\n[[mirror]]\nsource = \"docker.io\"\n", mapB, `mirrors.toml:2: mirror of "docker.io" has no target`},
		{"no bytes", "", mapB, "version is missing"},
		{"cut short", mapA[:40], mapB, "mirrors.toml:"},
		{"with a secret", "version = 1\n[registry.\"a.example\"]\nheader = { Authorization = \"c4n4ry\" }\n", mapB, "header Authorization has a secret in a map from the cluster"},
		{"huge", strings.Repeat("#", node.MaxDelivered+1), mapB, "larger than 1 MiB"},
		{"empty", "version = 1\n", "version = 1\n", ""},
	} {
		write(t, from, step.text)
		hash, err := c.run(from)
		if fmt.Sprint(err) != "<nil>" && step.fault == "" || !strings.Contains(fmt.Sprint(err), step.fault) || strings.Contains(fmt.Sprint(err), "c4n4ry") {
			t.Errorf("%s: %v; want %q", step.name, err, step.fault)
		}
		if got := read(t, to); got != step.want || err == nil && hash != hosts.Hash([]byte(step.want)) {
			t.Errorf("%s: the host has %q; want %q", step.name, got, step.want)
		}
	}
	if err := os.Remove(from); err != nil {
		t.Fatal(err)
	}
	if _, err := c.run(from); err == nil || !strings.Contains(err.Error(), "does not exist; mount the ConfigMap there") {
		t.Errorf("vanished: %v", err)
	}
	if got := read(t, to); got != "version = 1\n" {
		t.Errorf("vanished: the host has %q", got)
	}
	if info, err := os.Stat(to); err != nil || info.Mode() != 0o644 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

// TestCarryOver puts other things where the map belongs.
func TestCarryOver(t *testing.T) {
	from, outside := filepath.Join(t.TempDir(), "mirrors.toml"), filepath.Join(t.TempDir(), "outside")
	write(t, from, mapA)
	write(t, outside, mapA)
	for name, plant := range map[string]func(path string) error{
		"a link":      func(path string) error { return os.Symlink(outside, path) },
		"a FIFO":      func(path string) error { return unix.Mkfifo(path, 0o644) },
		"a huge file": func(path string) error { return errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, 1<<30)) },
		"a wide mode": func(path string) error {
			return errors.Join(os.WriteFile(path, []byte(mapA), 0o644), os.Chmod(path, 0o666))
		},
		"leftovers": func(path string) error {
			return os.WriteFile(filepath.Join(filepath.Dir(path), temporary+"1"), []byte("version"), 0o600)
		},
	} {
		dir := t.TempDir()
		to := filepath.Join(dir, mapName)
		if err := plant(to); err != nil {
			t.Fatal(err)
		}
		if _, err := (&carrier{to: to}).run(from); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		info, err := os.Lstat(to)
		if err != nil || info.Mode() != 0o644 || read(t, to) != mapA {
			t.Errorf("%s: the host has %v, %v", name, info, err)
		}
		if list, _ := os.ReadDir(dir); len(list) != 1 {
			t.Errorf("%s: the directory has %v", name, list)
		}
	}
	dir := filepath.Join(t.TempDir(), mapName)
	write(t, filepath.Join(dir, "x"), "")
	if _, err := (&carrier{to: dir}).run(from); err == nil || !strings.Contains(err.Error(), "remove what is there") {
		t.Errorf("over a directory: %v", err)
	}
}

// TestCarryKilled ends a delivery before each system call that changes something:
// the host has the old map or the new one, whole, and the next courier finishes.
func TestCarryKilled(t *testing.T) {
	killed := errors.New("killed")
	for _, old := range []string{"", mapA} {
		for at := 0; ; at++ {
			from, dir := filepath.Join(t.TempDir(), mapName), t.TempDir()
			to := filepath.Join(dir, mapName)
			write(t, from, mapB)
			if old != "" {
				write(t, to, old)
			}
			steps := 0
			c := &carrier{to: to, step: func(string) error {
				if steps++; steps > at {
					return killed
				}
				return nil
			}}
			_, err := c.run(from)
			if got := read(t, to); got != old && got != mapB {
				t.Fatalf("killed at step %d: the host has %q", at, got)
			}
			if _, err := (&carrier{to: to}).run(from); err != nil || read(t, to) != mapB {
				t.Fatalf("after a kill at step %d: %v; the host has %q", at, err, read(t, to))
			}
			if list, _ := os.ReadDir(dir); len(list) != 1 {
				t.Fatalf("after a kill at step %d: the directory has %v", at, list)
			}
			if err == nil {
				if at < 5 {
					t.Errorf("a delivery has %d steps", at)
				}
				break
			}
		}
	}
}

// TestCarryRead delivers again and again while a reader reads: it never sees half a
// map, or none.
func TestCarryRead(t *testing.T) {
	from, to := filepath.Join(t.TempDir(), mapName), filepath.Join(t.TempDir(), mapName)
	write(t, from, mapA)
	c := &carrier{to: to}
	if _, err := c.run(from); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if data, err := os.ReadFile(to); err != nil || string(data) != mapA && string(data) != mapB {
				t.Errorf("a reader sees %q, %v", data, err)
				return
			}
		}
	})
	for i := range 50 {
		write(t, from, []string{mapA, mapB}[i%2])
		if _, err := c.run(from); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	reader.Wait()
}

// TestLock has two couriers on one node.
func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), lockName)
	first := &lock{path: path, self: Holder{"canary", "pod-a"}}
	second := &lock{path: path, self: Holder{"rest", "pod-b"}}
	if other, err := first.take(); other != nil || err != nil {
		t.Fatalf("a free lock: %v, %v", other, err)
	}
	if before, isNew := first.predecessor(); before != nil || !isNew {
		t.Errorf("the first holder came after %v, %v", before, isNew)
	}
	for range 2 {
		if other, err := second.take(); err != nil || other == nil || *other != first.self {
			t.Errorf("a lock that is held: %v, %v; want %v", other, err, first.self)
		}
		if other, err := first.take(); other != nil || err != nil {
			t.Errorf("its holder: %v, %v", other, err)
		}
		if _, isNew := first.predecessor(); isNew {
			t.Error("the holder took it again")
		}
	}
	first.release()
	if other, err := second.take(); other != nil || err != nil {
		t.Errorf("a lock that was released: %v, %v", other, err)
	}
	if before, isNew := second.predecessor(); before == nil || *before != first.self || !isNew {
		t.Errorf("it was that of %v, %v; want %v", before, isNew, first.self)
	}
	// A holder that was killed while it wrote its name.
	second.release()
	write(t, path, `{"ring":`)
	if other, err := first.take(); other != nil || err != nil {
		t.Errorf("with half a name: %v, %v", other, err)
	}
	if before, _ := first.predecessor(); before != nil {
		t.Errorf("half a name is %v", before)
	}
	// A lock file that is removed is no longer a lock.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if other, err := second.take(); other != nil || err != nil {
		t.Errorf("a new file: %v, %v", other, err)
	}
	if other, err := first.take(); err != nil || other == nil || *other != second.self {
		t.Errorf("the holder of the removed one: %v, %v", other, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, err := (&lock{path: path}).take(); err == nil || !strings.Contains(err.Error(), "this is a symbolic link") {
		t.Errorf("a link: %v", err)
	}
	missing := filepath.Join(t.TempDir(), "delivered", lockName)
	if _, err := (&lock{path: missing}).take(); err == nil || !strings.Contains(err.Error(), "delivered does not exist; mount that directory") {
		t.Errorf("without the directory: %v", err)
	}
}
