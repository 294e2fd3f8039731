// Package clock decides whether file times can be compared with the start of a
// process.
//
// The kernel stamps files with the wall clock, which may be set, and processes
// with the time since boot, which may not. If the wall clock was set after a
// process started, a file that seems older than the process may be younger. The
// package knows neither files nor processes. Start at [Judge]; it uses a
// [History] of the clock, stored in /run, and what systemd reports about a
// unit.
package clock

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// File is the path of the clock's history on the node. After a boot both /run
// and the history are empty.
const File = "/run/mirrorcred/clock.json"

// Clocks are the machine's clocks at one moment.
type Clocks struct {
	Boot string        // the kernel's boot_id
	Wall time.Time     // files are stamped with it; it may be set
	Up   time.Duration // since boot, suspends included; processes are stamped with it
	Mono time.Duration // since boot, without suspends; systemd counts with it
}

// offset is the boot on the wall clock: added to a time since boot, it gives a
// wall clock time. It changes only if the wall clock is set; slewing affects
// both clocks.
func (c Clocks) offset() time.Duration { return time.Duration(c.Wall.UnixNano()) - c.Up }

// Latest returns the latest wall clock time at which a file can have changed
// before a process started; start is since boot. A change within a tick of the
// start may have come after it, because the kernel rounds both down.
func (c Clocks) Latest(start, drift time.Duration) time.Time {
	return c.Wall.Add(start - c.Up - armed.Tick - drift)
}

// Read reads the clocks. The time since boot is read before and after the wall
// clock, because a pause in between would look like a step.
func Read() (Clocks, error) {
	boot, err := armed.Boot()
	if err != nil {
		return Clocks{}, err
	}
	c := Clocks{Boot: boot}
	for range 10 {
		before, err1 := read(unix.CLOCK_BOOTTIME)
		c.Wall = time.Now().Round(0)
		mono, err2 := read(unix.CLOCK_MONOTONIC)
		after, err3 := read(unix.CLOCK_BOOTTIME)
		if err := errors.Join(err1, err2, err3); err != nil {
			return Clocks{}, fmt.Errorf("read the time since boot: %w", err)
		}
		c.Up, c.Mono = before, mono
		if after-before < time.Millisecond {
			break
		}
	}
	return c, nil
}

func read(id int32) (time.Duration, error) {
	var ts unix.Timespec
	err := unix.ClockGettime(id, &ts)
	return time.Duration(ts.Nano()), err
}

// maxStep is the largest step of the wall clock that leaves file times useful.
// A smaller step widens what counts as the same moment.
const maxStep = time.Second

// A History is what is known about the wall clock. It is stored in /run, and
// written if there is none for this boot or the clock was set.
type History struct {
	Boot string `json:"boot"`
	// Offset is how far the wall clock was ahead of the time since boot when this
	// was written, and has been since, give or take a second.
	Offset time.Duration `json:"offset"`
	// Since is when this was written, as time since boot.
	Since time.Duration `json:"since"`
	// Set says that the clock was set before that, within this boot.
	Set bool `json:"set,omitempty"`
}

// Next returns the history with the present time of the clocks, and whether it must be
// written.
func (h History) Next(now Clocks) (History, bool) {
	switch {
	case h.Boot != now.Boot:
		return History{Boot: now.Boot, Offset: now.offset(), Since: now.Up}, true
	case (now.offset() - h.Offset).Abs() > maxStep:
		return History{Boot: now.Boot, Offset: now.offset(), Since: now.Up, Set: true}, true
	}
	return h, false
}

// Recall returns the history in a file with what the clocks show now, and
// whether the file must be written. A damaged file counts as missing.
func Recall(tree durable.Tree, name string, now Clocks) (History, bool) {
	var h History
	if data, err := tree.ReadFile(name, 0); err == nil {
		_ = json.Unmarshal(data, &h)
	}
	return h.Next(now)
}

// Store writes the history, whole or not at all.
func (h History) Store(tree durable.Tree, name string) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return tree.Replace(name, append(data, '\n'))
}

// A Trust says how far file times can be compared with the start of a process.
type Trust int

const (
	Trusted   Trust = iota // the wall clock has not been set since
	Untold                 // nothing shows whether it has
	Worthless              // it has been set since
)

// A UnitStart returns when systemd last started the main process of a unit.
type UnitStart func(ctx context.Context, unit string) (systemd.State, error)

// SystemdStart is the [UnitStart] of the machine's systemd.
func SystemdStart(ctx context.Context, unit string) (systemd.State, error) {
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return systemd.State{}, err
	}
	defer bus.Close()
	return bus.State(ctx, unit)
}

// Judge returns how far file times can be compared with the start of a process,
// given since boot, and the largest step of the wall clock since then. h is the
// history of the clocks now; unit is the process's service, "" for none.
func Judge(ctx context.Context, h History, now Clocks, start time.Duration, unit string, ask UnitStart) (Trust, time.Duration) {
	drift := (now.offset() - h.Offset).Abs()
	switch {
	case start >= h.Since:
		return Trusted, drift
	case h.Set:
		return Worthless, 0
	case unit == "":
		return Untold, drift
	}
	state, err := ask(ctx, unit)
	if err != nil || state.Started == 0 || state.StartedAt.IsZero() || state.Started > start+armed.Tick {
		return Untold, drift // the last start is that of a later process
	}
	step := time.Duration(now.Wall.UnixNano()) - now.Mono - (time.Duration(state.StartedAt.UnixNano()) - state.Started)
	// On systemd's clock, a suspend looks like a step.
	if slept := now.Up - now.Mono; (step - slept).Abs() < step.Abs() {
		step -= slept
	}
	if step.Abs() > maxStep {
		return Worthless, 0
	}
	return Trusted, max(drift, step.Abs())
}
