package watch

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// The start of the program touches a little of each part of its file, and the kernel maps
// the 64 KiB around, so nearly all of the file is in memory then. Most of it is never
// needed again.

// giveBackProgram gives back the memory of the program's file. What is needed comes back
// page by page, until [readProgramAhead].
//
// The kernel keeps pages that other processes use too, such as a second watcher. One
// before Linux 5.4 does not know this advice, and a sandbox may refuse it; then the memory
// stays until the kernel needs it.
func giveBackProgram() { adviseProgram(unix.MADV_RANDOM, unix.MADV_PAGEOUT) }

// readProgramAhead has the kernel read more than one page of the program's file at a time,
// as usual: what comes now is what a pass did not need before.
func readProgramAhead() { adviseProgram(unix.MADV_NORMAL) }

// adviseProgram advises the kernel on the memory of the program's file (madvise(2)).
func adviseProgram(advice ...uintptr) {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	maps, err := input.ReadFile("/proc/self/maps", 0)
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		at, ok := unwritten(line, program)
		if !ok {
			continue
		}
		for _, one := range advice {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, at.start, at.length, one)
		}
	}
}

// An extent is a part of the process's memory, in bytes.
type extent struct{ start, length uintptr }

// unwritten returns the extent in a line of /proc/self/maps (proc_pid_maps(5)), false
// unless it is of a file, and the process cannot write to it.
func unwritten(line, file string) (extent, bool) {
	// The name is last, and may contain spaces.
	fields := strings.Fields(line)
	if len(fields) < 6 || !strings.HasSuffix(strings.TrimSuffix(line, "\n"), " "+file) || strings.Contains(fields[1], "w") {
		return extent{}, false
	}
	from, to, _ := strings.Cut(fields[0], "-")
	start, err := strconv.ParseUint(from, 16, 64)
	end, otherErr := strconv.ParseUint(to, 16, 64)
	if err != nil || otherErr != nil || end <= start {
		return extent{}, false
	}
	return extent{uintptr(start), uintptr(end - start)}, true
}
