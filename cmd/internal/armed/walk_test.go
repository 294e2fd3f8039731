//go:build linux

package armed

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// TestWalkStaysInside has a directory and a link that leads out of the root take
// turns in one place: what is outside is never seen, nor is where its links lead.
func TestWalkStaysInside(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	err := errors.Join(
		os.MkdirAll(filepath.Join(root, "etc/conf"), 0o755),
		os.WriteFile(filepath.Join(root, "etc/conf/inside"), nil, 0o644),
		os.WriteFile(filepath.Join(outside, "canary"), nil, 0o644),
		os.Symlink("/canary-link", filepath.Join(outside, "link")),
		os.Symlink(outside, filepath.Join(root, "etc/other")),
	)
	if err != nil {
		t.Fatal(err)
	}
	var over atomic.Bool
	turns := make(chan int)
	go func() {
		n := 0
		for ; !over.Load(); n++ {
			_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "etc/conf"), unix.AT_FDCWD, filepath.Join(root, "etc/other"), unix.RENAME_EXCHANGE)
			time.Sleep(20 * time.Microsecond)
		}
		turns <- n
	}()
	tree := input.NewRoot(root)
	links, dirs := 0, 0
	for began := time.Now(); time.Since(began) < 700*time.Millisecond; {
		for _, name := range []string{"/etc/conf/canary", "/etc/conf/link"} {
			_, err := Walk(tree, name, func(at string, st *syscall.Stat_t, _ bool) error {
				switch isLink := st.Mode&syscall.S_IFMT == syscall.S_IFLNK; {
				case at == "/etc/conf" && isLink:
					links++
				case at == "/etc/conf":
					dirs++
				case strings.HasSuffix(at, "canary") || strings.HasSuffix(at, "link"):
					t.Errorf("it sees %s, which is outside", at)
				}
				return nil
			})
			if err != nil && !errors.Is(err, syscall.EINVAL) { // it is no longer a link
				t.Fatal(err)
			}
		}
		if t.Failed() {
			break
		}
	}
	over.Store(true)
	if n := <-turns; n < 10 || links == 0 || dirs == 0 {
		t.Errorf("%d turns, in which it saw the link %d times and the directory %d times", n, links, dirs)
	}
}
