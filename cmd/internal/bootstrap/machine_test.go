package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// write makes a file of a test's node.
func write(t testing.TB, root, path, text string, mode fs.FileMode) {
	t.Helper()
	name := filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
}

// tree returns everything below a root, without what mirrorcred keeps there.
func tree(t testing.TB, root string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, root)
		if name == plan.StateDir {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := ""
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			text, err = os.Readlink(path)
		case !d.IsDir():
			var data []byte
			data, err = os.ReadFile(path)
			text = string(data)
		}
		fmt.Fprintf(&b, "%s %s %q\n", name, info.Mode(), text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// before is the node of the tests, and thePlan what is done to it.
func before(t testing.TB, root string) {
	t.Helper()
	write(t, root, "/etc/containerd/config.toml", "version = 2\n", 0o640)
	write(t, root, "/etc/systemd/system/mirrorcred.service", "old unit\n", 0o644)
	write(t, root, "/etc/gone.toml", "another's\n", 0o600)
	write(t, root, plan.StateDir+"/lock", "", 0o600)
}

func thePlan(t testing.TB, n *Node) Plan {
	t.Helper()
	step := func(text, path string, next *File) Step {
		old, err := n.Observe(path)
		if err != nil {
			t.Fatal(err)
		}
		if next != nil && old != nil {
			next.Mode, next.UID, next.GID = old.Mode, old.UID, old.GID
		}
		return Step{Text: text, Path: path, Old: old, New: next}
	}
	p := Plan{Steps: []Step{
		step("the program", "/opt/new/bin/mirrorcred", &File{Data: []byte("program"), Mode: 0o755}),
		step("hosts_dir", "/etc/containerd/config.toml", &File{Data: []byte("version = 2\nmore\n"), Mode: 0o600}),
		step("the unit", "/etc/systemd/system/mirrorcred.service", &File{Data: []byte("new unit\n"), Mode: 0o600}),
		step("starts it", "/etc/systemd/system/multi-user.target.wants/mirrorcred.service", &File{Link: "../mirrorcred.service"}),
		step("no longer read", "/etc/gone.toml", nil),
	}}
	p.Steps = slices.DeleteFunc(p.Steps, func(s Step) bool { return s.Old.equal(s.New) })
	if len(p.Steps) > 0 {
		p.Steps = append(p.Steps, Step{Command: []string{"systemctl", "daemon-reload"}})
	}
	p, err := n.finish(p)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// machine returns a node that is taken for the machine itself, and what it ran.
// Its root stays that of the tests.
func machine(root string) (*Node, *[]string) {
	n := New(root)
	n.Root, n.offline = "", false
	var ran []string
	n.run = func(_ context.Context, command []string) error {
		ran = append(ran, strings.Join(command, " "))
		return nil
	}
	return n, &ran
}

func do(t testing.TB, n *Node) error {
	t.Helper()
	_, err := n.CarryOut(context.Background(), Bake, thePlan(t, n))
	return err
}

func undo(t testing.TB, n *Node) ([]Kept, error) {
	t.Helper()
	p, kept, err := n.planBack(stageRest, nil)
	if err != nil {
		return kept, err
	}
	_, err = n.carryBack(context.Background(), stageRest, p, kept)
	return kept, err
}

var errKilled = errors.New("killed")

// kill has a node's disk stop before its step k: as a kill would if fault is nil,
// else with that error of the disk.
func kill(n *Node, k int, fault error) {
	count := 0
	n.disk.step = func(op, path string) error {
		if count++; count != k {
			return nil
		}
		if fault == nil {
			panic(errKilled)
		}
		return &fs.PathError{Op: op, Path: path, Err: fault}
	}
}

// stopped runs f, and reports whether a kill or a fault ended it.
func stopped(t testing.TB, fault error, f func() error) (ended bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			if r != errKilled {
				panic(r)
			}
			ended = true
		}
	}()
	err := f()
	if err != nil && !errors.Is(err, fault) {
		t.Fatal(err)
	}
	return err != nil
}

// checkWhole holds that each file is as before or as planned.
func checkWhole(t testing.TB, root string) {
	t.Helper()
	for path, want := range map[string][]string{
		"/etc/containerd/config.toml":            {"version = 2\n", "version = 2\nmore\n"},
		"/etc/systemd/system/mirrorcred.service": {"old unit\n", "new unit\n"},
		"/opt/new/bin/mirrorcred":                {"program", ""},
		"/etc/gone.toml":                         {"another's\n", ""},
	} {
		data, err := os.ReadFile(filepath.Join(root, path))
		if errors.Is(err, fs.ErrNotExist) && slices.Contains(want, "") {
			continue
		}
		if err != nil || !slices.Contains(want, string(data)) || len(data) == 0 {
			t.Fatalf("%s holds %q, %v", path, data, err)
		}
	}
}
