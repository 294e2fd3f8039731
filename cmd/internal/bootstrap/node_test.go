package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

func TestDoAndUndo(t *testing.T) {
	root := t.TempDir()
	before(t, root)
	first := tree(t, root)
	n, ran := machine(root)
	if err := do(t, n); err != nil {
		t.Fatal(err)
	}
	done := tree(t, root)
	for _, want := range []string{
		`/opt/new/bin/mirrorcred -rwxr-xr-x "program"`, `/etc/containerd/config.toml -rw-r----- "version = 2\nmore\n"`,
		`multi-user.target.wants/mirrorcred.service Lrwxrwxrwx "../mirrorcred.service"`,
	} {
		if !strings.Contains(done, want) {
			t.Errorf("the tree lacks %s:\n%s", want, done)
		}
	}
	if strings.Contains(done, "gone.toml") || !slices.Equal(*ran, []string{"systemctl daemon-reload"}) {
		t.Errorf("ran %q, and the tree is:\n%s", *ran, done)
	}
	if p := thePlan(t, n); len(p.Steps) != 0 {
		t.Errorf("the second plan has steps: %v", p.Steps)
	}
	for _, name := range []string{recordFile, copyDir} {
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v; only root may read it", name, info.Mode())
		}
	}
	if kept, err := undo(t, n); err != nil || len(kept) > 0 {
		t.Fatal(kept, err)
	}
	if now := tree(t, root); now != first {
		t.Errorf("after undo:\n%s\nbefore:\n%s", now, first)
	}
	if entries, err := os.ReadDir(filepath.Join(root, plan.StateDir)); err != nil || len(entries) != 1 {
		t.Errorf("undo leaves %v, %v; want the lock only", entries, err)
	}
}

// TestKilled kills, and fails, a phase and its undo before each system call. Each
// file is whole then, the next run ends as if nothing had happened, and undo gives
// back what was there.
func TestKilled(t *testing.T) {
	for _, fault := range []error{nil, syscall.ENOSPC, syscall.EIO} {
		for _, phase := range []string{"do", "undo"} {
			t.Run(fmt.Sprint(phase, " ", fault), func(t *testing.T) {
				for k := 1; ; k++ {
					root := t.TempDir()
					before(t, root)
					first := tree(t, root)
					n, ran := machine(root)
					f := func() error { return do(t, n) }
					if phase == "undo" {
						if err := f(); err != nil {
							t.Fatal(err)
						}
						f = func() error { _, err := undo(t, n); return err }
					}
					kill(n, k, fault)
					ended := stopped(t, fault, f)
					n.disk.step = nil
					checkWhole(t, root)
					if !ended {
						if k < 10 {
							t.Fatalf("only %d steps", k)
						}
						break
					}
					if err := do(t, n); err != nil && phase == "do" {
						t.Fatalf("step %d: %v", k, err)
					}
					if phase == "do" && !slices.Contains(*ran, "systemctl daemon-reload") {
						t.Fatalf("step %d: the command was never run", k)
					}
					if kept, err := undo(t, n); err != nil || len(kept) > 0 {
						t.Fatalf("step %d: %v, %v", k, kept, err)
					}
					if now := tree(t, root); now != first {
						t.Fatalf("step %d: after undo:\n%s\nbefore:\n%s", k, now, first)
					}
				}
			})
		}
	}
}

// TestUndoLeaves holds what undo does about files that another program has changed
// since, or removed.
func TestUndoLeaves(t *testing.T) {
	parts["test"] = func(data []byte) ([]byte, error) { return bytes.ReplaceAll(data, []byte("more\n"), nil), nil }
	defer delete(parts, "test")
	for name, test := range map[string]struct {
		part  Part
		now   string // "" if it is removed
		want  string
		stays bool
	}{
		"edited":            {now: "version = 2\nmore\nanother's\n", want: "version = 2\nmore\nanother's\n", stays: true},
		"edited, with part": {part: "test", now: "version = 2\nmore\nanother's\n", want: "version = 2\nanother's\n"},
		"part taken out":    {part: "test", now: "another's\n", want: "another's\n"},
		"removed":           {now: "", want: "", stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			before(t, root)
			n, _ := machine(root)
			p := thePlan(t, n)
			for i := range p.Steps {
				p.Steps[i].Part = test.part
			}
			if _, err := n.CarryOut(t.Context(), Bake, p); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(root, "/etc/containerd/config.toml")
			if test.now == "" {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			} else {
				write(t, root, "/etc/containerd/config.toml", test.now, 0o640)
			}
			kept, err := undo(t, n)
			if err != nil || (len(kept) > 0) != test.stays {
				t.Fatal(kept, err)
			}
			if data, _ := os.ReadFile(file); string(data) != test.want {
				t.Errorf("the file holds %q; want %q", data, test.want)
			}
			if !test.stays {
				return
			}
			r, err := n.record()
			if err != nil || len(r.Entries) != 1 || !strings.Contains(kept[0].Reason, copyDir) {
				t.Errorf("%+v, %v, %v; the copy is kept and named", r, kept, err)
			}
			if f, err := n.Observe(r.Entries[0].Old.copyOf()); err != nil || f == nil || string(f.Data) != "version = 2\n" {
				t.Errorf("the copy is %v, %v", f, err)
			}
		})
	}
}

// TestChangedMeanwhile holds that what another program writes after the plan was
// made is not lost.
func TestChangedMeanwhile(t *testing.T) {
	root := t.TempDir()
	before(t, root)
	n, _ := machine(root)
	p := thePlan(t, n)
	write(t, root, "/etc/containerd/config.toml", "another's\n", 0o640)
	var changed *ChangedError
	if _, err := n.CarryOut(t.Context(), Bake, p); !errors.As(err, &changed) {
		t.Errorf("the error is %v", err)
	}
	if data, _ := os.ReadFile(filepath.Join(root, "/etc/containerd/config.toml")); string(data) != "another's\n" {
		t.Errorf("the file holds %q", data)
	}
}

// TestAnotherRoot holds that below another root nothing is run, and no link leads
// out.
func TestAnotherRoot(t *testing.T) {
	top := t.TempDir()
	root, outside := filepath.Join(top, "root"), filepath.Join(top, "outside")
	write(t, outside, "/etc/untouched", "", 0o644)
	write(t, root, "/etc/containerd/config.toml", "version = 2\n", 0o640)
	if err := os.Symlink(outside, filepath.Join(root, "opt")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, outside), 0o755); err != nil {
		t.Fatal(err)
	}
	first := tree(t, outside)
	n := New(root)
	n.run = func(context.Context, []string) error { t.Error("a command was run"); return nil }
	left, err := n.CarryOut(t.Context(), Bake, thePlan(t, n))
	if err != nil || len(left) != 1 || left[0][1] != "daemon-reload" {
		t.Fatal(left, err)
	}
	if now := tree(t, outside); now != first {
		t.Errorf("outside:\n%s", now)
	}
	if data, err := os.ReadFile(filepath.Join(root, outside, "new/bin/mirrorcred")); err != nil || string(data) != "program" {
		t.Errorf("inside: %q, %v", data, err)
	}
}
