// Package containerd finds a node's containerd and says whether it reads
// exactly the directory of the generated hosts.toml files. Only then may the
// plugin return a credential.
//
// It knows the running process (which one listens on the socket, since when,
// with which configuration), what each version reports about itself, and what
// is installed for the next start. Package containerdconfig says what the
// configuration files mean, and package node decides what to do about the
// verdict. It never runs containerd's program. Start at [Observer.Verdict].
package containerd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// An Observer says where to find containerd, and what it must read.
type Observer struct {
	// Root is the directory that all paths of the node are below; "" means this
	// machine.
	Root string
	// Offline says that the node is not this machine but an image that is being
	// built, so nothing runs on it.
	Offline bool
	// Wanted is what the containerd table of the map says.
	Wanted mirror.Containerd
	// Dry says to store nothing in /run for the next time.
	Dry bool
	// Overlay are files of the node that count as if they were there, by path:
	// those that are about to be written.
	Overlay map[string][]byte

	sys   *system // nil for this machine
	files *files
}

// A Verdict says whether the plugin may return credentials on a node.
type Verdict struct {
	// NotArmed is why it must not, nil if it may.
	NotArmed error
	// Next says that containerd will read the tree after its next start, whatever
	// it reads now.
	Next bool
	// Record is what the verdict depends on, if the node is armed.
	Record armed.Record
	// Loss says why containerd will no longer read the tree after its next start;
	// nothing if it will.
	Loss fault.Fault
	// Warnings are what makes the verdict less than certain.
	Warnings []doctor.Finding
	// Logins are the registries for which containerd has logins of its own, according
	// to its files.
	Logins []doctor.Login
	// Version is that of the containerd that runs, else of the one that is installed,
	// else as the map has it; "" if that is not known.
	Version string
	// Inputs are the files and patterns on this machine that the verdict was made
	// from.
	Inputs []string
}

// path returns the path on this machine of a path on the node.
func (o Observer) path(parts ...string) string {
	return filepath.Join(append([]string{o.Root, "/"}, parts...)...)
}

// tree returns the tree with the paths. No link leads out of it.
func (o Observer) tree() durable.Tree { return durable.Tree{Root: input.NewRoot(o.Root)} }

// Verdict examines the running containerd, and what the next one would read. An
// error means that neither could be found out this time, for example because
// containerd does not answer.
func (o Observer) Verdict(ctx context.Context) (Verdict, error) {
	if o.sys == nil {
		o.sys = thisMachine()
	}
	o.files = newFiles(o.path, o.tree().Root)
	o.files.overlay = o.Overlay
	v, err := o.judge(ctx)
	v.Inputs = o.files.inputs()
	if err != nil || v.NotArmed != nil || !v.Record.Alone || o.Overlay != nil {
		return v, err
	}
	v.Record.Files, err = o.files.record()
	return v, err
}

func (o Observer) judge(ctx context.Context) (Verdict, error) {
	var now *running
	if !o.Offline {
		var err error
		var unknown *unknownError
		switch now, err = o.query(ctx); {
		case errors.As(err, &unknown):
			return Verdict{NotArmed: unknown.Fault}, nil
		case err != nil:
			return Verdict{}, err
		}
	}
	next := o.outlook(now)
	if now == nil {
		return Verdict{
			NotArmed: firstError(o.checkVersion(next.installed, "is installed"), next.reasonWithMap(o), o.differs(next.configPath, next.where)),
			Record:   armed.Record{HostsDir: o.Wanted.HostsDir, Alone: next.startKnown},
			Warnings: o.warnings(next),
			Logins:   next.logins,
			Version:  cmp.Or(next.installed, o.Wanted.Version),
		}, nil
	}
	if err := o.checkVersion(now.version, "runs"); err != nil {
		return Verdict{NotArmed: err}, nil
	}
	v := Verdict{
		Next:     next.reason == nil,
		Record:   armed.Record{HostsDir: o.Wanted.HostsDir, Process: now.process.Process, Alone: next.startKnown && next.reason == nil},
		Warnings: o.warnings(next),
		Logins:   next.logins,
		Version:  cmp.Or(now.version, o.Wanted.Version),
	}
	if !now.reported {
		known, err := o.infer(ctx, now, &v)
		if ctx.Err() != nil {
			return Verdict{}, ctx.Err()
		}
		if err != nil {
			return Verdict{NotArmed: err, Next: v.Next}, nil
		}
		now.configPath = known
	}
	v.NotArmed = firstError(o.notReading(*now, next), o.differs(now.configPath, now.String()))
	if v.NotArmed == nil && next.reason != nil {
		v.Loss = *fault.Of(next.reason)
	}
	return v, nil
}

// notReading says why the running containerd does not read the tree, nil if it
// does.
func (o Observer) notReading(now running, next outlook) error {
	switch {
	case containerdconfig.IsDir(now.configPath, o.Wanted.HostsDir):
		return nil
	case next.reason == nil:
		return &fault.Fault{
			Name: doctor.RestartPending, What: "containerd started before its configuration was changed", Where: next.where,
			Found: fmt.Sprintf("%s has config_path = %q, although its configuration says %q", now, now.configPath, o.Wanted.HostsDir), Fix: now.restart(),
		}
	}
	f := fault.Of(next.reason)
	f.Found = fmt.Sprintf("%s, and %s has config_path = %q", f.Found, now, now.configPath)
	f.Fix = f.Then(now.restart())
	return f
}

// differs returns an error if the map's config_path is not the one found: the
// map's counts only if none can be found.
func (o Observer) differs(configPath, where string) error {
	if o.Wanted.ConfigPath == "" || where == "" || configPath == o.Wanted.ConfigPath || containerdconfig.IsDir(configPath, o.Wanted.ConfigPath) {
		return nil
	}
	return &fault.Fault{
		What:  "config_path in the map is not the one that containerd has",
		Found: fmt.Sprintf("the map has config_path = %q under [containerd], but %s has %q", o.Wanted.ConfigPath, where, configPath),
		Fix:   "remove the line from the map",
	}
}

// checkVersion returns an error if the map is rendered for a later containerd
// than the node has: that may refuse the files, and would then ask the source.
func (o Observer) checkVersion(version, what string) error {
	if version == "" {
		return nil
	}
	have, err := hosts.ParseVersion(version)
	if err != nil {
		return unversioned(fmt.Sprintf("containerd %s %s", version, what), err)
	}
	wanted, err := hosts.ParseVersion(o.Wanted.Version)
	if err == nil && have.OlderLine(wanted) {
		return &fault.Fault{
			Name:  doctor.VersionTooOld,
			What:  "containerd is older than the version in the map, and may refuse files for that",
			Found: fmt.Sprintf("containerd %s %s, but the map has version = %q under [containerd]", version, what, o.Wanted.Version),
			Fix:   fmt.Sprintf("write version = %q, or leave the key out", have),
		}
	}
	return nil
}

// firstError returns the first error that is not nil.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
