package node

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/clock"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// clockSet implements [machine]. If the history cannot be stored, it is found
// out again each time.
func (linux) clockSet(dry bool) bool {
	now, err := clock.Read()
	if err != nil {
		return false
	}
	h, isNew := clock.Recall(durable.Tree{}, clock.File, now)
	if isNew && !dry {
		_ = h.Store(durable.Tree{}, clock.File)
	}
	return h.Set
}

// systemdTime is how long systemd may take to report when it started a unit.
const systemdTime = 5 * time.Second

// dated implements [machine]. If it cannot be found out, the clock counts as
// set.
func (l linux) dated(k plan.Process) plan.Dating {
	d, _ := l.date(k)
	return d
}

func (l linux) date(k plan.Process) (plan.Dating, clock.Clocks) {
	now, err := clock.Read()
	if err != nil || k.Started.Boot != now.Boot {
		return plan.Dating{Worthless: true}, now
	}
	h, _ := clock.Recall(durable.Tree{}, clock.File, now)
	ctx, cancel := context.WithTimeout(context.Background(), systemdTime)
	defer cancel()
	trust, drift := clock.Judge(ctx, h, now, k.Started.Since, k.Unit, func(ctx context.Context, unit string) (systemd.State, error) {
		return l.units.of(ctx, unit, k.Started)
	})
	return plan.Dating{Worthless: trust == clock.Worthless, Untold: trust == clock.Untold, Drift: drift}, now
}

// of asks systemd for a unit, once for each process of it.
func (u *units) of(ctx context.Context, unit string, started plan.Moment) (systemd.State, error) {
	if u == nil {
		return clock.SystemdStart(ctx, unit)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if state, ok := u.states[started]; ok {
		return state, nil
	}
	state, err := clock.SystemdStart(ctx, unit)
	if err == nil {
		u.states = map[plan.Moment]systemd.State{started: state}
	}
	return state, err
}

// changedSince reports whether a file, or a link on the way to it, may have
// changed since a kubelet started. It uses the time of the inode, which no
// program can set, as long as the clock was not set.
func (l linux) changedSince(path string, k plan.Process) (bool, error) {
	d, now := l.date(k)
	if d.Worthless {
		return true, nil
	}
	limit := now.Latest(k.Started.Since, d.Drift)
	var st unix.Stat_t
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(filepath.Clean(path), "/"), "/") {
		at = filepath.Join(at, name)
		if err := unix.Lstat(at, &st); err != nil {
			return false, &fs.PathError{Op: "stat", Path: at, Err: err}
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK && changedAfter(st, limit) {
			return true, nil
		}
	}
	if err := unix.Stat(path, &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, &fs.PathError{Op: "stat", Path: path, Err: errors.New("it is not a file")}
	}
	return changedAfter(st, limit), nil
}

func changedAfter(st unix.Stat_t, limit time.Time) bool {
	return time.Unix(st.Ctim.Unix()).After(limit)
}
