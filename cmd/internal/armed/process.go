//go:build linux

package armed

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// Tick is the unit of a process's start time (proc_pid_stat(5)), and the
// coarsest unit of file times.
const Tick = 10 * time.Millisecond

// runs reports whether the process is still running.
func (p Process) runs() bool {
	if p.PID <= 0 {
		return false
	}
	boot, err := Boot()
	if err != nil || boot != p.Boot {
		return false
	}
	state, start, err := ReadStat("/proc/" + strconv.Itoa(p.PID))
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// Boot returns the kernel's boot_id.
func Boot() (string, error) {
	data, err := input.ReadFile("/proc/sys/kernel/random/boot_id", 0)
	return strings.TrimSpace(string(data)), err
}

// ReadStat reads the state of a process, which is 'Z' if it has ended, and when
// it started: since boot, in whole clock ticks. dir is its directory in /proc.
func ReadStat(dir string) (state byte, start time.Duration, err error) {
	stat, err := input.ReadFile(dir+"/stat", 0)
	if err != nil {
		return 0, 0, err
	}
	// The name in parentheses may hold spaces and parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("%s/stat has no start time", dir)
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("%s/stat: start time %q", dir, fields[19])
	}
	return fields[0][0], time.Duration(ticks) * Tick, nil
}
