//go:build linux

package input

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// randomTree makes directories, files and links that lead to one another, up and
// out, in a directory beside which there are things with the same names.
func randomTree(t *testing.T, random *rand.Rand) (root string) {
	t.Helper()
	top := t.TempDir()
	root = filepath.Join(top, "root")
	names := []string{"a", "b", "c"}
	for _, name := range names {
		os.MkdirAll(filepath.Join(top, name, "a"), 0o755)
	}
	dirs := []string{root}
	os.Mkdir(root, 0o755)
	for range 25 {
		at := filepath.Join(dirs[random.IntN(len(dirs))], names[random.IntN(len(names))])
		switch random.IntN(4) {
		case 0:
			if os.Mkdir(at, 0o755) == nil {
				dirs = append(dirs, at)
			}
		case 1:
			if _, err := os.Lstat(at); err != nil {
				os.WriteFile(at, []byte(at), 0o644)
			}
		default:
			os.Symlink(randomPath(random, top), at)
		}
	}
	return root
}

func randomPath(random *rand.Rand, top string) string {
	var path strings.Builder
	switch random.IntN(6) {
	case 0, 1:
		path.WriteString("/")
	case 2:
		path.WriteString(top + "/")
	}
	for range 1 + random.IntN(4) {
		path.WriteString([]string{"a", "b", "c", "..", ".", "a", "b"}[random.IntN(7)])
		path.WriteString([]string{"/", "/", "//"}[random.IntN(3)])
	}
	if random.IntN(4) > 0 {
		return strings.TrimRight(path.String(), "/") + ""
	}
	return path.String()
}

// identity says what a descriptor leads to.
func identity(t *testing.T, fd int, err error) string {
	t.Helper()
	if err != nil {
		return err.Error()
	}
	defer syscall.Close(fd)
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(st.Dev, " ", st.Ino)
}

// TestWalkLikeKernel checks that going by hand leads where the kernel would.
func TestWalkLikeKernel(t *testing.T) {
	const seed = 1
	random := rand.New(rand.NewPCG(seed, 0))
	found, links := 0, 0
	for range 12 {
		root := randomTree(t, random)
		o, err := openRoot(root)
		if err != nil {
			t.Fatal(err)
		}
		if o.byHand {
			t.Skip("the kernel has no openat2")
		}
		for range 120 {
			path := randomPath(random, filepath.Dir(root))
			for _, flags := range []int{oPath, oPath | syscall.O_NOFOLLOW, openFlags, openFlags | syscall.O_DIRECTORY, openFlags | syscall.O_NOFOLLOW} {
				fd, err := openat2(o.fd, path, flags|syscall.O_CLOEXEC, 0, resolveInRoot)
				want := identity(t, fd, err)
				fd, err = walk(o.fd, path, flags, 0)
				if got := identity(t, fd, err); got != want {
					t.Fatalf("seed %d: %s: walk to %q with %#x: %s; the kernel: %s", seed, root, path, flags, got, want)
				}
				if err == nil {
					found++
				}
				if err == syscall.ELOOP {
					links++
				}
			}
			// A path that was resolved leads to the same, without any link.
			fd, err := openat2(o.fd, path, oPath|syscall.O_CLOEXEC, 0, resolveInRoot)
			want := identity(t, fd, err)
			resolved, rerr := resolve(o.fd, path)
			if err == nil {
				fd, err = openat2(o.fd, "./"+resolved, oPath|syscall.O_CLOEXEC, 0, noSymlinks)
				if got := identity(t, fd, err); got != want || rerr != nil || strings.Contains(resolved, "..") {
					t.Fatalf("seed %d: %s: %q is resolved to %q, %v: %s; want %s", seed, root, path, resolved, rerr, got, want)
				}
			}
		}
	}
	if found < 500 || links < 10 {
		t.Errorf("%d paths led somewhere and %d in circles; the test says too little", found, links)
	}
}
