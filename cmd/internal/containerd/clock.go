package containerd

import (
	"github.com/mirrorcred/mirrorcred/cmd/internal/clock"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
)

// A system is this machine, except for its files.
type system struct {
	proc string // where the kernel shows the processes
	// owner says who owns a process.
	owner func(pid int) (process.Verdict, error)
	// now reads the clocks.
	now func() (clock.Clocks, error)
	// unitOf returns the service that a process with these cgroups belongs to.
	unitOf func(groups []byte) string
	// unit returns when systemd last started the main process of a unit.
	unit clock.UnitStart
}

// thisMachine returns the machine that mirrorcred runs on.
func thisMachine() *system {
	return &system{proc: "/proc", owner: process.Proc.Judge, now: clock.Read, unitOf: process.UnitOf, unit: clock.SystemdStart}
}
