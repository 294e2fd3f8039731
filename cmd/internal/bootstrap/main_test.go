package bootstrap

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain has the nodes of the tests in memory, if the machine has that: they
// sync thousands of files, which proves nothing here. What is measured is on a disk.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	const shared = "/dev/shm"
	var fs unix.Statfs_t
	if unix.Statfs(shared, &fs) != nil || fs.Type != unix.TMPFS_MAGIC || flag.Lookup("test.bench").Value.String() != "" {
		return m.Run()
	}
	dir, err := os.MkdirTemp(shared, "mirrorcred-bootstrap-*")
	if err != nil {
		return m.Run()
	}
	defer os.RemoveAll(dir)
	if err := os.Setenv("TMPDIR", dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
