package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// stopService stops mirrorcred's services, which would restore what undo removes. It
// does nothing if no systemd runs or no unit is installed.
func (n *Node) stopService(ctx context.Context) error {
	if n.offline {
		return nil
	}
	units, err := systemd.Units("")
	if err != nil {
		return err
	}
	command := []string{"systemctl", "disable", "--now"}
	for _, u := range units {
		f, err := n.unit(u)
		if err != nil {
			return err
		}
		if f != nil && f.isRegular() && !strings.HasSuffix(u.Name, ".conf") {
			command = append(command, u.Name)
		}
	}
	if len(command) == 3 {
		return nil
	}
	return n.run(ctx, command)
}

// planRest is [Node.planBack] for the last stage, with the commands that belong to
// it.
func (b *Baking) planRest(ctx context.Context) (Plan, []Kept, error) {
	p, kept, err := b.planBack(stageRest, b.installed)
	if err != nil {
		return p, kept, err
	}
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return strings.HasPrefix(s.Path, "/etc/systemd/") }) {
		p.Steps = append(p.Steps, Step{Text: "systemd forgets the units", Command: []string{"systemctl", "daemon-reload"}})
	}
	isConfig := func(s Step) bool {
		return s.Path != nodeadmFile && strings.HasSuffix(s.Path, ".toml") && (s.Old.isConfig() || s.New.isConfig())
	}
	if b.offline || !slices.ContainsFunc(p.Steps, isConfig) {
		return p, kept, nil
	}
	m, err := b.Mirrors.ReadMap()
	if err != nil {
		p.Notes = append(p.Notes, "containerd may need a restart: its configuration is as it was before")
		return p, kept, nil
	}
	start, err := containerd.Observer{Wanted: m.Containerd, Dry: true}.Start(ctx)
	if err != nil || !start.Runs {
		return p, kept, err
	}
	p.Steps = append(p.Steps, restartOf(start))
	return p, kept, nil
}

// isConfig reports whether a file is a configuration of containerd's that
// mirrorcred wrote or has a block in.
func (f *File) isConfig() bool {
	return f != nil && (strings.HasPrefix(string(f.Data), newHeader) || strings.Contains(string(f.Data), blockBegin))
}

func restartOf(start containerd.Start) Step {
	unit := start.Unit
	if unit == "" {
		unit = "containerd.service"
	}
	return Step{Text: "containerd reads its configuration when it starts", Command: []string{"systemctl", "restart", unit}}
}

// drain removes all mirrors, as an empty map does, and returns those that must still
// drain. Nothing else may be undone before they have: a pull that has a credential would
// offer it to the source. drain records what apply replaces, as [Baking.Bake] does. The
// caller holds the lock.
func (b *Baking) drain(ctx context.Context) (applied plan.Plan, waiting []string, err error) {
	b.Mirrors.Empty = true
	defer func() { b.Mirrors.Empty = false }()
	if err := b.noteMirrors(ctx); err != nil {
		return applied, nil, err
	}
	if applied, err = b.Mirrors.Apply(ctx); err != nil {
		return applied, nil, err
	}
	for _, list := range [][]plan.Pending{applied.Pending, applied.Draining} {
		for _, one := range list {
			waiting = append(waiting, fmt.Sprintf("%s: %s", one.Source, one.Reason))
		}
	}
	for _, c := range applied.Conflicts {
		waiting = append(waiting, fmt.Sprintf("%s: %s", c.Path, c.Reason))
	}
	return applied, waiting, nil
}

// runDir and logDir are what mirrorcred.conf has systemd-tmpfiles make: the tokens
// that the plugin has cached, and its log.
const (
	runDir = "/run/mirrorcred"
	logDir = "/var/log/mirrorcred"
)

// forgetAll removes what mirrorcred keeps on the node, once everything else is undone:
// cached tokens, the plugin's log, and last its state, with the lock that the caller
// holds: while that is there, undo can be run again. Two things stay: copies of
// files that undo left alone, with their record; and copies that "apply --adopt" kept
// of files that are not back in their place. It returns the directory of the latter,
// "" if there are none.
func (b *Baking) forgetAll() (stays string, err error) {
	r, err := b.record()
	if err != nil || len(r.Entries) > 0 || len(r.Owed) > 0 {
		return "", err
	}
	saved, err := b.savedElsewhere()
	if err != nil {
		return "", err
	}
	for _, dir := range []string{runDir, logDir} {
		if err := b.removeAll(dir); err != nil {
			return "", err
		}
	}
	if !saved {
		return "", b.removeAll(plan.StateDir)
	}
	if err := b.disk.before("remove", plan.StateDir); err != nil {
		return "", err
	}
	entries, err := b.disk.tree.ReadDir(b.disk.at(plan.StateDir))
	if err != nil {
		return "", describe(err)
	}
	for _, e := range entries {
		name := path.Join(plan.StateDir, e.Name())
		if name == plan.SavedDir {
			continue
		}
		if err := b.disk.tree.RemoveAll(b.disk.at(name)); err != nil {
			return "", describe(err)
		}
	}
	return plan.SavedDir, nil
}

// savedElsewhere reports whether a copy that "apply --adopt" kept is of something that
// is not back in its place.
func (b *Baking) savedElsewhere() (bool, error) {
	entries, err := b.disk.tree.ReadDir(b.disk.at(plan.SavedDir))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, describe(err)
	}
	m, err := b.Mirrors.ReadMap()
	if err != nil {
		return len(entries) > 0, nil
	}
	for _, e := range entries {
		copied, err := b.Observe(path.Join(plan.SavedDir, e.Name()))
		if err != nil {
			return false, err
		}
		if copied == nil {
			continue
		}
		// A name is that of the namespace, a dash and the beginning of the hash.
		namespace, isFile := e.Name(), false
		if i := strings.LastIndexByte(namespace, '-'); i > 0 {
			namespace, isFile = namespace[:i], copied.isRegular()
		}
		now, err := b.Observe(path.Join(m.Containerd.HostsDir, namespace, hosts.FileName))
		if err != nil {
			return false, err
		}
		if !isFile || now.print() != copied.print() {
			return true, nil
		}
	}
	return false, nil
}

// removeAll removes a directory of mirrorcred's with all that is in it.
func (n *Node) removeAll(dir string) error {
	if err := n.disk.before("remove", dir); err != nil {
		return err
	}
	return describe(n.disk.tree.RemoveAll(n.disk.at(dir)))
}
