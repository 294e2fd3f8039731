package containerd

import (
	"context"
	"fmt"
	"path"

	"github.com/mirrorcred/mirrorcred/cmd/internal/clock"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// String names the running containerd.
func (r running) String() string {
	return fmt.Sprintf("the running containerd (process %d, %s)", r.process.PID, r.version)
}

// infer returns the config_path of a containerd that does not report it: what
// was found out about this process before, or else what its files say by the
// rules of its version, if none of them can have changed since it started.
func (o Observer) infer(ctx context.Context, now *running, v *Verdict) (string, error) {
	var known memory
	if o.recall(memoryFile, &known); known.Process != now.process.Process {
		var err error
		if known, err = o.establish(ctx, now); err != nil {
			return "", err
		}
		if err := o.store(memoryFile, known); err != nil {
			return "", &fault.Fault{What: "what the running containerd has read cannot be stored", Where: o.path(memoryFile), Found: err.Error(), Fix: "make the directory writable", Cause: err}
		}
	}
	if known.Untold {
		v.Warnings = append(v.Warnings, doctor.Finding{
			Name:   doctor.ClockUnknown,
			Where:  fmt.Sprintf("process %d", now.process.PID),
			Text:   "nothing shows whether the wall clock was set after this containerd started; if it was, containerd may have read older versions of its files, and a mirror's credential may be offered to the source",
			Repair: "restart containerd while \"mirrorcred watch\" runs, or run it as a systemd service",
		})
	}
	return known.ConfigPath, nil
}

// establish finds out what a process has read of its files.
func (o Observer) establish(ctx context.Context, now *running) (memory, error) {
	if now.broken != "" {
		return memory{}, &fault.Fault{What: "containerd did not load its image plugin, so it pulls nothing", Found: fmt.Sprintf("%s: %s", now, now.broken), Fix: "repair its configuration, then " + now.restart()}
	}
	if !now.process.isContainerd() {
		return memory{}, unread(o.Wanted.Address, fmt.Sprintf("process %d listens there and is %q, not containerd", now.process.PID, now.process.args[0]), "write containerd's own socket as address under [containerd] in the map")
	}
	main, err := o.mainFile(now.process)
	if err != nil {
		return memory{}, err
	}
	version, err := containerdconfig.ParseVersion(now.version)
	if err != nil {
		return memory{}, unversioned(now.String(), err)
	}
	c, err := containerdconfig.Effective(o.files, main, version)
	paths := make([]string, len(c.Read))
	for i, in := range c.Read {
		paths[i] = in.Path
	}
	how, clockErr := o.unchanged(ctx, now, paths)
	switch {
	case clockErr != nil:
		return memory{}, clockErr
	case err != nil:
		f := fault.Of(o.rooted(err))
		f.Found = fmt.Sprintf("%s, although %s runs", f.Found, now)
		f.Fix = f.Then(now.restart())
		return memory{}, f
	}
	if reason := o.notReadBy(c); reason != nil && (c.ConfigPath == "" || c.NotReading(c.ConfigPath) != nil) {
		f := o.fault(*reason)
		f.Fix = f.Then(now.restart())
		return memory{}, f
	}
	return memory{Process: now.process.Process, Version: now.version, ConfigPath: c.ConfigPath, Untold: how == clock.Untold}, nil
}

// mainFile returns the configuration that a process was started with.
func (o Observer) mainFile(p Process) (string, error) {
	file, given := configFlag(p.args)
	switch {
	case !given:
		return defaultConfig, nil
	case path.IsAbs(file):
		return path.Clean(file), nil
	}
	dir, err := o.sys.workingDir(p.PID)
	if err != nil {
		return "", unread("", fmt.Sprintf("containerd (process %d) was started with --config=%s, and its working directory cannot be read", p.PID, file), "start it with an absolute path")
	}
	return path.Join(dir, file), nil
}

// unchanged returns an error that says why one of the paths may have changed
// since a process started.
func (o Observer) unchanged(ctx context.Context, now *running, paths []string) (clock.Trust, error) {
	clocks, err := o.sys.now()
	if err != nil {
		return 0, err
	}
	h, isNew := clock.Recall(o.tree(), o.path(clock.File), clocks)
	if isNew && !o.Dry {
		if err := h.Store(o.tree(), o.path(clock.File)); err != nil {
			return 0, err
		}
	}
	how, drift := clock.Judge(ctx, h, clocks, now.process.Start, now.process.unit, o.sys.unit)
	if err := ctx.Err(); err != nil {
		return 0, err // systemd did not finish answering
	}
	if how == clock.Worthless {
		return 0, now.stale("", fmt.Sprintf("the wall clock was set after the running containerd (process %d) started", now.process.PID))
	}
	changed, err := o.changedAfter(paths, clocks.Latest(now.process.Start, drift))
	if err != nil {
		return 0, err
	}
	if changed != "" {
		f := now.stale(o.path(changed), fmt.Sprintf("changed after %s started, or at the same moment", now))
		f.Name = doctor.RestartPending
		return 0, f
	}
	if mount := o.mounted(now.process.PID, paths); mount != "" {
		f := now.stale(o.path(mount), fmt.Sprintf("a mount point, and nothing shows whether it was mounted before %s started", now))
		f.Fix = "unmount it and put the files there instead, then " + f.Fix
		return 0, f
	}
	return how, nil
}
