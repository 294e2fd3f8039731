package node

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestDisarmByParts checks what is done if the routes cannot be taken away at
// once, or not at all, and that the error names what is left.
func TestDisarmByParts(t *testing.T) {
	const wrong = "version = 3\n"
	for name, test := range map[string]struct {
		refuse func(op, path string) error
		routes int    // that are left
		want   string // in the error
	}{
		"renamed away": {refuse: func(string, string) error { return nil }},
		"one by one": {refuse: func(op, path string) error {
			if op == "rename" && strings.HasSuffix(path, plan.RoutesDir) {
				return unix.EBUSY
			}
			return nil
		}},
		"all but one": {refuse: func(op, path string) error {
			if op == "rename" && strings.HasSuffix(path, plan.RoutesDir) || op == "remove" && strings.HasSuffix(path, "mcr.microsoft.com.json") {
				return unix.EPERM
			}
			return nil
		}, routes: 1, want: "1 of the routes in "},
		"none": {refuse: func(op, path string) error { return unix.EROFS }, routes: 2, want: "2 of the routes in "},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, oneMap)
			apply(t, n)
			write(t, n.path("/etc/containerd/config.toml"), wrong)
			n.disk.step = func(op string, paths ...string) error {
				if err := test.refuse(op, paths[0]); err != nil {
					return &fs.PathError{Op: op, Path: paths[0], Err: err}
				}
				return nil
			}
			_, err := n.Apply(t.Context())
			var notArmed *NotArmedError
			if !errors.As(err, &notArmed) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("apply: %v; want a NotArmedError and %q", err, test.want)
			}
			left, err := os.ReadDir(n.path(plan.RoutesDir))
			if err != nil && !errors.Is(err, fs.ErrNotExist) || len(left) != test.routes {
				t.Errorf("the routes are %v, %v; want %d", left, err, test.routes)
			}
			if err := armed.Stopped(n.Root); err == nil || !strings.Contains(err.Error(), "config.toml") {
				t.Errorf("Stopped = %v; want the reason", err)
			}
			n.disk.step = nil
			write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
			apply(t, n)
			if err := errors.Join(armed.Stopped(n.Root), armed.Check(n.Root, plan.RoutesDir, "/etc/containerd/certs.d")); err != nil {
				t.Errorf("armed again: %v", err)
			}
		})
	}
}

// TestMarkerStays checks that only a pass that arms the node takes the marker
// away: not a dry run, not one of a map with a fault, not one that is vetoed.
func TestMarkerStays(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	if err := armed.Stop(n.Root, "why"); err != nil {
		t.Fatal(err)
	}
	stays := func(what string) {
		t.Helper()
		if armed.Stopped(n.Root) == nil {
			t.Errorf("%s takes the marker away", what)
		}
	}
	if _, err := n.Plan(t.Context()); err != nil {
		t.Fatal(err)
	}
	stays("a dry run")
	if _, err := n.ApplyUnless(t.Context(), func(string) bool { return false }, func(plan.Plan) bool { return true }); err != nil {
		t.Fatal(err)
	}
	stays("a plan that is vetoed")
	write(t, n.Map, "version = \n")
	if _, err := n.Apply(t.Context()); err == nil {
		t.Fatal("apply succeeds; want the fault of the map")
	}
	stays("a map with a fault")
	applyMap(t, n, oneMap)
	if err := armed.Stopped(n.Root); err != nil {
		t.Errorf("after a pass that arms: %v", err)
	}
}

// TestRecordGoes checks that there is no record without routes.
func TestRecordGoes(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	info, err := os.Stat(n.path(record))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the record: %v, %v; want one of mode 0600", info, err)
	}
	before, err := os.ReadFile(n.path(record))
	if err != nil {
		t.Fatal(err)
	}
	apply(t, n)
	after, err := os.Stat(n.path(record))
	if err != nil || !os.SameFile(info, after) {
		t.Errorf("a second apply writes the record anew; it was %s", before)
	}
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n")
	if _, err := n.Apply(t.Context()); err == nil {
		t.Fatal("apply succeeds; want it not to be armed")
	}
	if _, err := os.Lstat(n.path(record)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the record: %v; want it gone", err)
	}
}
