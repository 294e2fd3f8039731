package containerd

import (
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/mirrorcred/mirrorcred/cmd/internal/clock"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
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
			return "", fmt.Errorf("%s: what the running containerd has read cannot be stored: %w; make the directory writable", o.path(memoryFile), err)
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
	const untold = "this version does not report what it has read"
	if now.broken != "" {
		return memory{}, fmt.Errorf("%s did not load its image plugin, so it pulls nothing: %s; repair its configuration and restart containerd", now, now.broken)
	}
	if !now.process.isContainerd() {
		return memory{}, fmt.Errorf("process %d, which listens on %s, is %q and not containerd, and %s; write containerd's own socket as address under [containerd] in the map", now.process.PID, o.Wanted.Address, now.process.args[0], untold)
	}
	main, err := o.mainFile(now.process)
	if err != nil {
		return memory{}, err
	}
	version, err := containerdconfig.ParseVersion(now.version)
	if err != nil {
		return memory{}, fmt.Errorf("%s: %w", now, err)
	}
	c, err := containerdconfig.Effective(o.files, main, version)
	paths := make([]string, len(c.Read))
	for i, in := range c.Read {
		paths[i] = in.Path
	}
	how, clockErr := o.unchanged(ctx, now, paths)
	var mount *mountError
	switch {
	case errors.As(clockErr, &mount):
		return memory{}, fmt.Errorf("%w, and %s; unmount it, put the files there instead, and restart containerd", clockErr, untold)
	case clockErr != nil:
		return memory{}, fmt.Errorf("%w, and %s; restart containerd", clockErr, untold)
	case err != nil:
		return memory{}, fmt.Errorf("%s, although it runs; restart containerd once this is repaired: %w", now, o.rooted(err))
	}
	if reason := o.notReadBy(c); reason != nil && (c.ConfigPath == "" || c.NotReading(c.ConfigPath) != nil) {
		f := o.fault(*reason)
		f.Fix += ", then " + now.restart()
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
		return "", fmt.Errorf("containerd (process %d) was started with --config=%s, and its working directory cannot be read; start it with an absolute path", p.PID, file)
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
		return 0, errors.New("the wall clock was set after the running containerd started, so containerd may have read older versions of its files")
	}
	changed, err := o.changedAfter(paths, clocks.Latest(now.process.Start, drift))
	if err != nil {
		return 0, err
	}
	if changed != "" {
		return 0, &ChangedError{o.path(changed), fmt.Sprintf("process %d, %s", now.process.PID, now.version)}
	}
	if mount := o.mounted(now.process.PID, paths); mount != "" {
		return 0, &mountError{o.path(mount), now}
	}
	return how, nil
}

// A ChangedError says that a file was changed after containerd started, so that
// containerd may not have read it.
type ChangedError struct {
	Path  string // on this machine
	Which string // containerd it is, by process and version
}

// Error says which file, and which containerd.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s was changed after the running containerd (%s) started, or at the same moment", e.Path, e.Which)
}

// A mountError says that a configuration is read from a mount. Restarting
// containerd alone does not help.
type mountError struct {
	path string
	now  *running
}

// Error says what is unknown because of the mount.
func (e *mountError) Error() string {
	return fmt.Sprintf("%s is a mount point, and nothing shows whether it was mounted before the running containerd (process %d, %s) started", e.path, e.now.process.PID, e.now.version)
}
