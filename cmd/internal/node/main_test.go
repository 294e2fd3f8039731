package node

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
)

// TestMain has the nodes of the tests in memory, if the machine has room for
// that: they sync many thousands of files, which takes minutes on a disk and
// proves nothing, since the power cuts are played.
func TestMain(m *testing.M) {
	if machinetest.Inside() {
		os.Exit(machinetest.Main(m, inside))
	}
	code, err := runInMemory(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runInMemory(m *testing.M) (int, error) {
	const shared, room = "/dev/shm", 1 << 30
	flag.Parse()
	// What is measured is on a disk, and a child of a test is where its parent is.
	if flag.Lookup("test.bench").Value.String() != "" || strings.HasPrefix(os.TempDir(), shared) {
		return m.Run(), nil
	}
	var fs unix.Statfs_t
	err := unix.Statfs(shared, &fs)
	// Some tests run a script.
	if err != nil || fs.Type != unix.TMPFS_MAGIC || fs.Bavail*uint64(fs.Bsize) < room || fs.Flags&unix.ST_NOEXEC != 0 {
		return m.Run(), nil
	}
	dir, err := os.MkdirTemp(shared, "mirrorcred-node-*")
	if err != nil {
		return m.Run(), nil
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return 1, err
	}
	return m.Run(), nil
}
