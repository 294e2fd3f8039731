package node

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// holder names the process that holds the lock on a file, from the kernel's
// list (proc_locks(5)), "" if it cannot be found.
func holder(f *os.File) string {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return ""
	}
	data, err := input.ReadFile("/proc/locks", 0)
	if err != nil {
		return ""
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev), stat.Ino)
	for line := range strings.Lines(string(data)) {
		// 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234 0 EOF
		if fields := strings.Fields(line); len(fields) > 5 && fields[1] == "FLOCK" && fields[5] == inode && fields[4] != "0" && fields[4] != "-1" {
			return fmt.Sprintf(" (process %s)", fields[4])
		}
	}
	return ""
}
