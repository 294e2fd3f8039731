package node

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// holder names the process that holds the lock on a file and its command, such as
// " (process 4711, mirrorcred watch)". The kernel lists who holds what
// (proc_locks(5)); it is "" if that does not help.
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
			return fmt.Sprintf(" (process %s%s)", fields[4], commandOf(fields[4]))
		}
	}
	return ""
}

// commandOf returns ", " and the command of a process, "" if it cannot be read. For a
// mirrorcred of this user that is the program with its first argument; what comes
// after may be anything. Of all others it is the name that the kernel keeps: the
// arguments are in memory that another user may supply so that reading it hangs.
func commandOf(pid string) string {
	name, err := input.ReadFile("/proc/"+pid+"/comm", 0)
	if err != nil {
		return ""
	}
	command := strings.TrimSpace(string(name))
	var stat unix.Stat_t
	if command != "mirrorcred" || unix.Stat("/proc/"+pid, &stat) != nil || int(stat.Uid) != os.Geteuid() {
		return ", " + command
	}
	if args, err := input.ReadFile("/proc/"+pid+"/cmdline", 0); err == nil {
		if words := strings.SplitN(string(args), "\x00", 3); len(words) == 3 {
			command += " " + words[1]
		}
	}
	return ", " + command
}
