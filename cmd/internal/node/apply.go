package node

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// ApplyUnless is [Node.Apply] with two vetoes. For each source that the map
// removes or takes a credential away from, hold reports whether it stays as it is
// for now; a drain that has begun goes on. veto reports whether the whole plan is
// only returned, not carried out. Neither applies to routes that must not exist:
// those are removed. If ctx ends, the run ends before its next change, with an
// [InterruptedError].
func (n *Node) ApplyUnless(ctx context.Context, hold func(source string) bool, veto func(plan.Plan) bool) (plan.Plan, error) {
	unlock, err := n.lock(ctx, func() error { return n.stopUnarmed(ctx) })
	if err != nil {
		return plan.Plan{}, err
	}
	defer unlock()
	n.disk.next = 0 // the same fault has the same text each time
	marker := armed.Seen(n.Root)
	todo, err := n.plan(ctx, hold)
	var unarmed *NotArmedError
	switch {
	case errors.As(err, &unarmed):
		return plan.Plan{}, errors.Join(err, n.disarm(unarmed), n.unmap(ctx), n.carryAhead(ctx, unarmed))
	case err != nil && ctx.Err() != nil:
		return todo, errors.Join(&InterruptedError{}, n.rearm())
	case err != nil:
		return todo, errors.Join(err, n.rearm())
	case veto(todo):
		return todo, n.rearm()
	}
	err = n.carryOut(ctx, &todo, &marker)
	todo.DropRefused()
	if err != nil {
		n.recalls.forget() // it may be because a file is not as it was taken to be
	}
	return todo, n.howFar(todo, err)
}

// carryOut carries a plan out. resume is the marker that stops the plugin, as
// it was before the plan was made, if it should be removed.
func (n *Node) carryOut(ctx context.Context, todo *plan.Plan, resume *armed.Mark) error {
	n.count = 0
	err := n.disk.discard(todo.Leftovers, func(path string, err error) {
		why := reasonOf(path, err)
		why.What = "left by a killed run, and cannot be removed: " + why.What
		todo.Conflicts = append(todo.Conflicts, plan.NewConflict(n.onNode(path), why))
	})
	if err != nil {
		return err
	}
	err = todo.CarryOut(ctx, &carrier{n, resume})
	for _, c := range todo.Changes {
		n.recalls.changed(n.path(c.Path))
	}
	if err != nil {
		return err
	}
	if n.Root == "" && slices.ContainsFunc(todo.Changes, func(c plan.Change) bool { return c.Stage == plan.StageKubelet }) {
		time.Sleep(apart)
	}
	return nil
}

// apart is how long a run waits after it has changed the kubelet's configuration.
// The kernel stamps files and processes by ticks and rounds both down, and
// mirrorcred's units run right before the kubelet. If the kubelet started in the same
// tick, the next pass could not tell that it read the new file, and would restart it
// for nothing.
const apart = 3 * armed.Tick

// writeState writes the state if it differs from the one on disk.
func (n *Node) writeState(s plan.State) error {
	if len(s.Drains) == 0 {
		s.Drains = nil
	}
	s.Machine = MachineID(n.tree, n.Root)
	data, err := s.Encode()
	if err != nil {
		return err
	}
	old, err := n.tree.ReadFile(n.path(stateFile), 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return describe(err)
	}
	info, err := n.tree.Stat(n.path(stateFile))
	closed := err != nil || isClosed(info)
	if closed && bytes.Equal(old, data) || old == nil && s.Empty() {
		return nil
	}
	return n.disk.write([]file{{path: n.path(stateFile), data: data, mode: 0o600}})
}

// stage makes the changes of one stage of a plan.
func (n *Node) stage(ctx context.Context, stage plan.Stage, changes []plan.Change, todo *plan.Plan) error {
	n.followStage(ctx, stage, changes, todo)
	defer func() { n.disk.follow = follower{} }()
	n.disk.expected = n.expect(stage, todo.Changes)
	defer func() { n.disk.expected = nil }()
	var files []file
	var gone, goneDirs []string
	for _, c := range changes {
		path := n.path(c.Path)
		switch {
		case c.New == nil && c.Dir:
			goneDirs = append(goneDirs, filepath.Dir(path))
		case c.New == nil:
			gone = append(gone, path)
		default:
			f := file{path: path, data: c.New, mode: c.Mode, dir: c.Dir, link: c.Link}
			if !c.Dir && !c.Link {
				var err error
				if f.path, err = n.follow(path); err != nil {
					return err
				}
			}
			if stage == plan.StageKubelet {
				if err := n.backUpPrevious(c, todo.BinDir); err != nil {
					return err
				}
				var err error
				if f.owner, err = n.ownerOf(f.path); err != nil {
					return err
				}
			}
			if stage == plan.StageHosts || stage == plan.StageCarry {
				// The link's target may be on another file system.
				if f.path == path {
					f.scratch = n.path(todo.HostsDir) // also for what is carried over
				}
				if err := n.prepare(c); err != nil {
					if !n.disk.follow.refuses(f.place(), err) {
						return err
					}
					continue
				}
			}
			files = append(files, f)
		}
	}
	if err := n.disk.write(files); err != nil {
		return err
	}
	if err := n.disk.removeDirs(goneDirs); err != nil {
		return err
	}
	return n.disk.remove(gone)
}

// prepare readies an existing namespace for a new hosts.toml: another program's
// files are kept, and the directory is closed to others if a secret comes.
func (n *Node) prepare(c plan.Change) error {
	if c.Save {
		if err := n.disk.mkdirAll(n.path(plan.SavedDir), 0o700); err != nil {
			return err
		}
		name := filepath.Base(filepath.Dir(c.Path)) + "-" + hosts.Hash(c.Old)[:12] + ".toml"
		if err := n.disk.write([]file{{path: n.path(plan.SavedDir, name), data: c.Old, mode: 0o600}}); err != nil {
			return err
		}
	}
	if c.BackUp != "" {
		if err := n.backUpDir(filepath.Join(filepath.Dir(filepath.Dir(n.path(c.Path))), c.BackUp)); err != nil {
			return err
		}
	}
	if c.Dir || c.Mode&0o077 != 0 {
		return nil
	}
	return n.disk.chmod(filepath.Dir(n.path(c.Path)), dirMode(c.Mode))
}
