package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// list returns everything below a directory, with its mode and what is in it.
func list(t *testing.T, dir string) string {
	t.Helper()
	var lines []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(path, dir) + " " + info.Mode().String()
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			line += " " + to
		case d.Type().IsRegular():
			data, _ := os.ReadFile(path)
			line += " " + string(data)
		}
		lines = append(lines, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// change makes one change of each kind below a directory.
func change(t *testing.T, tree Tree, dir string) {
	t.Helper()
	at := func(path string) string { return filepath.Join(dir, path) }
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	do(tree.MkdirAll(at("a/b/c"), 0o755))
	do(tree.Mkdir(at("a/shut"), 0o700))
	f, err := tree.Create(at("a/b/file"), 0o640)
	do(err)
	if err == nil {
		_, err := f.WriteString("text")
		do(err)
		do(f.Close())
	}
	if _, err := tree.Create(at("a/b/file"), 0o640); !errors.Is(err, fs.ErrExist) {
		t.Errorf("create a file that is there: %v", err)
	}
	do(tree.Symlink("file", at("a/b/link")))
	do(tree.Rename(at("a/b/link"), at("a/b/renamed")))
	do(tree.ChmodDir(at("a/b/c"), 0o711))
	do(tree.SyncDir(at("a/b")))
	do(tree.SyncFS(at("a/b")))
	do(tree.MkdirAll(at("gone/x/y"), 0o755))
	do(tree.Symlink("/etc", at("gone/x/etc")))
	do(tree.RemoveAll(at("gone")))
	do(tree.RemoveAll(at("gone")))
	do(tree.Mkdir(at("empty"), 0o755))
	do(tree.Remove(at("empty")))
	if err := tree.Remove(at("a/b")); !errors.Is(err, unix.ENOTEMPTY) {
		t.Errorf("remove a directory with files: %v", err)
	}
	var pathErr *fs.PathError
	if err := tree.Remove(at("empty")); !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &pathErr) || pathErr.Path != at("empty") {
		t.Errorf("remove what is not there: %v", err)
	}
	lock, err := tree.OpenLock(at("a/lock"))
	do(err)
	if err == nil {
		do(lock.Close())
	}
}

// TestRootLikeMachine checks that a root is changed as this machine is.
func TestRootLikeMachine(t *testing.T) {
	ours, other := t.TempDir(), t.TempDir()
	change(t, Tree{}, ours)
	change(t, Tree{input.NewRoot(other)}, other)
	if a, b := list(t, ours), list(t, other); a != b || !strings.Contains(a, "/a/b/file -rw-r----- text") || !strings.Contains(a, "/a/lock -rw------- ") {
		t.Errorf("our own machine:\n%s\nanother root:\n%s", a, b)
	}
}

// TestLinksStayInRoot checks that no change is made outside the root by a link.
func TestLinksStayInRoot(t *testing.T) {
	for _, to := range []string{"%s/outside", "../outside", "../../../../../../../../%s/outside"} {
		top := t.TempDir()
		outside, dir := filepath.Join(top, "outside"), filepath.Join(top, "root")
		if err := os.MkdirAll(filepath.Join(outside, "a/b"), 0o755); err != nil {
			t.Fatal(err)
		}
		to = strings.ReplaceAll(to, "%s", top)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		before := list(t, outside)
		// Where the link leads, in the root.
		inside := filepath.Join(dir, "outside")
		if strings.Contains(to, top) {
			inside = filepath.Join(dir, outside)
		}
		if err := os.MkdirAll(inside, 0o755); err != nil {
			t.Fatal(err)
		}
		change(t, Tree{input.NewRoot(dir)}, filepath.Join(dir, "link"))
		if after := list(t, outside); after != before {
			t.Errorf("by a link to %s, outside:\n%s\nbefore:\n%s", to, after, before)
		}
		if now := list(t, inside); !strings.Contains(now, "/a/b/file -rw-r----- text") {
			t.Errorf("by a link to %s, inside:\n%s", to, now)
		}
	}
}

func TestLockKinds(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(unix.Mkfifo(at("fifo"), 0o600), os.Mkdir(at("dir"), 0o700), os.Symlink("elsewhere", at("link"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(at("wide"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if f, err := (Tree{}).OpenLock(at("wide")); err != nil {
		t.Error(err)
	} else if f.Close(); !strings.Contains(list(t, dir), "/wide -rw------- ") {
		t.Errorf("others can lock it:\n%s", list(t, dir))
	}
	names := []string{"fifo", "dir", "link"}
	if os.Getuid() == 0 {
		if err := os.Chown(at("wide"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		names = append(names, "wide")
	}
	for _, name := range names {
		if f, err := (Tree{}).OpenLock(at(name)); err == nil || !strings.Contains(err.Error(), at(name)) {
			t.Errorf("lock %s: %v, %v", name, f, err)
		}
	}
}
