//go:build linux

package input

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newRootTree makes a root with links as a distribution's has, beside things of
// the same names outside. The links lead outside, if they are not resolved in it.
func newRootTree(t *testing.T) (r *Root, dir string) {
	t.Helper()
	top := t.TempDir()
	dir = filepath.Join(top, "root")
	for path, text := range map[string]string{
		"root/etc/real/file": "inside", "root/etc/real/b.toml": "inside", "etc/real/file": "outside",
		"root/usr/etc/x": "inside", "secret": "outside",
	} {
		path = filepath.Join(top, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{
		"etc/link":            "/etc/real",               // absolute
		"etc/up":              "../../../../../etc/real", // more than there is
		"etc/file":            "/etc/real/file",
		"etc/real/file2":      "/etc/real/file",
		"etc/outside":         filepath.Join(top, "secret"),
		"etc/loop":            "loop",
		"etc/real/device":     "/dev/zero",
		"etc/real/to-outside": "../../../secret",
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "etc/real/fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	return NewRoot(dir), dir
}

// bothWays runs a test by the kernel and by hand.
func bothWays(t *testing.T, test func(t *testing.T, r *Root, dir string)) {
	for name, byHand := range map[string]bool{"kernel": false, "by hand": true} {
		t.Run(name, func(t *testing.T) {
			r, dir := newRootTree(t)
			o, err := r.open()
			if err != nil {
				t.Fatal(err)
			}
			if o.byHand && !byHand {
				t.Skip("the kernel has no openat2")
			}
			o.byHand = byHand
			test(t, r, dir)
		})
	}
}

func TestRootReads(t *testing.T) {
	bothWays(t, func(t *testing.T, r *Root, dir string) {
		for path, want := range map[string]string{
			"etc/real/file": "inside", "etc/link/file": "inside", "etc/up/file": "inside", "etc/file": "inside",
			"etc/link/file2": "inside",
			"etc/outside":    "no such file", "etc/loop": "too many levels", "etc/real/to-outside": "no such file",
			"etc/real/device": "no such file", "etc/link/fifo": "a FIFO", "etc/link": "a directory",
		} {
			at := filepath.Join(dir, path)
			data, err := r.ReadFile(at, 0)
			if got := string(data); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("read %s: %q, %v; want %s", path, got, err, want)
			}
			var pathErr *fs.PathError
			if err != nil && (!errors.As(err, &pathErr) || pathErr.Path != at) {
				t.Errorf("read %s: %v does not name it", path, err)
			}
		}
		in, err := r.OpenDir(filepath.Join(dir, "etc/link"))
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		for name, want := range map[string]string{"file": "inside", "file2": "inside", "to-outside": "no such file", "fifo": "a FIFO"} {
			data, _, err := in.ReadFile(name, 0, nil)
			if got := string(data); err == nil && got != want || err != nil && !strings.Contains(err.Error(), want) {
				t.Errorf("read %s in it: %q, %v; want %s", name, got, err, want)
			}
		}
	})
}

func TestRootLooks(t *testing.T) {
	bothWays(t, func(t *testing.T, r *Root, dir string) {
		at := func(path string) string { return filepath.Join(dir, path) }
		if info, err := r.Stat(at("etc/link/file2")); err != nil || !info.Mode().IsRegular() || info.Size() != 6 {
			t.Errorf("stat: %v, %v", info, err)
		}
		if info, err := r.Lstat(at("etc/link/file2")); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("lstat: %v, %v", info, err)
		}
		a, err1 := r.Stat(at("etc/link/file2"))
		b, err2 := r.Stat(at("etc/file"))
		if err1 != nil || err2 != nil || !os.SameFile(a, b) {
			t.Errorf("two links to a file are not the same: %v, %v", err1, err2)
		}
		if to, err := r.Readlink(at("etc/link/file2")); err != nil || to != "/etc/real/file" {
			t.Errorf("readlink: %q, %v", to, err)
		}
		entries, err := r.ReadDir(at("etc/up"))
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
			if info, err := e.Info(); err != nil || info.Mode().Type() != e.Type() {
				t.Errorf("%s: %v, %v", e.Name(), info, err)
			}
		}
		if want := []string{"b.toml", "device", "fifo", "file", "file2", "to-outside"}; err != nil || !slices.Equal(names, want) {
			t.Errorf("read a directory: %q, %v; want %q", names, err, want)
		}
		for pattern, want := range map[string][]string{
			"etc/link/f*le":  {at("etc/link/file")},
			"etc/*/b.toml":   {at("etc/link/b.toml"), at("etc/real/b.toml"), at("etc/up/b.toml")},
			"etc/outside":    {at("etc/outside")},
			"etc/outside/*":  nil,
			"etc/gone/*":     nil,
			"etc/link/file2": {at("etc/link/file2")},
		} {
			if got, err := r.Glob(at(pattern)); err != nil || !slices.Equal(got, want) {
				t.Errorf("Glob(%q) = %q, %v; want %q", pattern, got, err, want)
			}
		}
		if _, err := r.Glob(at("etc/[")); !errors.Is(err, filepath.ErrBadPattern) {
			t.Errorf("Glob of a bad pattern: %v", err)
		}
		for path, want := range map[string]string{"etc/link/new/file": "etc/real/new/file", "etc/up/file2": "etc/real/file", "": ""} {
			if got, err := r.Resolve(at(path)); err != nil || got != at(want) {
				t.Errorf("Resolve(%q) = %q, %v; want %q", path, got, err, at(want))
			}
		}
	})
}

// What is not below the root is this machine's.
func TestRootElsewhere(t *testing.T) {
	r, dir := newRootTree(t)
	outside := filepath.Join(filepath.Dir(dir), "secret")
	for _, r := range []*Root{r, nil} {
		if data, err := r.ReadFile(outside, 0); err != nil || string(data) != "outside" {
			t.Errorf("read %s: %q, %v", outside, data, err)
		}
		if _, err := r.Stat(outside); err != nil {
			t.Error(err)
		}
		if err := r.Check(); err != nil {
			t.Error(err)
		}
	}
	// A directory with a longer name is not below it.
	if err := os.Rename(outside, dir+"-too"); err != nil {
		t.Fatal(err)
	}
	if data, err := r.ReadFile(dir+"-too", 0); err != nil || string(data) != "outside" {
		t.Errorf("read %s: %q, %v", dir+"-too", data, err)
	}
	gone := NewRoot(filepath.Join(dir, "gone"))
	if err := gone.Check(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a root that is not there: %v", err)
	}
	if _, err := gone.ReadFile(filepath.Join(dir, "gone/x"), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file below a root that is not there: %v", err)
	}
}
