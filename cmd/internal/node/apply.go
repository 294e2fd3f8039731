package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// Apply brings the node to its map as far as that can be now, and returns the
// plan that it carried out. After an error the node is as it was before one of
// the plan's changes, and the next run goes on from there.
func (n *Node) Apply(ctx context.Context) (Plan, error) {
	return n.ApplyUnless(ctx, func(string) bool { return false }, func(Plan) bool { return false })
}

// ApplyUnless is [Node.Apply] with a say in it. hold is asked for each source
// that the map takes away and, where it says yes, that stays as it is while the
// rest of the plan is carried out; a drain that has begun is not asked for.
// veto says no to a plan as a whole, which is then returned all the same.
// Neither is asked for routes that must not be there: those are taken away.
func (n *Node) ApplyUnless(ctx context.Context, hold func(source string) bool, veto func(Plan) bool) (Plan, error) {
	unlock, err := n.lock(ctx)
	if err != nil {
		return Plan{}, err
	}
	defer unlock()
	n.disk.next = 0 // the same fault has the same words each time
	plan, err := n.plan(hold)
	var unarmed *NotArmedError
	if errors.As(err, &unarmed) {
		return Plan{}, errors.Join(err, n.disarm(), n.unmap())
	}
	if err != nil || veto(plan) {
		return plan, err
	}
	return plan, n.carryOut(plan)
}

// lock waits for the one writer's place. It is the kernel's and ends with the
// process.
func (n *Node) lock(ctx context.Context) (unlock func(), err error) {
	path := n.path(lockFile)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, describe(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, describe(err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, describe(&fs.PathError{Op: "lock", Path: path, Err: err})
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("%s: another mirrorcred is at work on this node and did not end; look for it with: fuser %s", path, path)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// disarm takes all routes away, at once: from then on the plugin answers
// nothing and says so.
func (n *Node) disarm() error {
	entries, err := readDir(n.path(stateDir))
	if err != nil {
		return err
	}
	if err := n.disk.discard(leftovers(n.path(stateDir), entries)); err != nil {
		return err
	}
	if _, err := os.Lstat(n.path(routesDir)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return n.disk.removeDirs([]string{n.path(routesDir)})
}

// carryOut makes the changes of a plan, stage by stage.
func (n *Node) carryOut(plan Plan) error {
	if err := n.disk.discard(plan.leftovers); err != nil {
		return err
	}
	if err := n.locate(plan); err != nil {
		return err
	}
	for _, stage := range stages {
		changes := slices.DeleteFunc(slices.Clone(plan.Changes), func(c Change) bool { return c.Stage != stage })
		if stage == StageKubelet && len(changes) > 0 {
			if err := n.announce(plan); err != nil {
				return err
			}
		}
		if err := n.stage(stage, changes, plan); err != nil {
			return err
		}
		if stage == StageKubelet {
			if err := n.remember(&plan); err != nil {
				return err
			}
		}
	}
	if len(plan.ended) == 0 {
		return nil
	}
	for _, name := range plan.ended {
		delete(plan.next.Drains, name)
	}
	return n.writeState(plan.next)
}

// locate writes down where containerd is, before there is a route which holds
// only as long as that containerd reads our tree.
func (n *Node) locate(plan Plan) error {
	s := plan.seen
	if s.Containerd == plan.next.Containerd {
		return nil
	}
	s.Containerd = plan.next.Containerd
	return n.writeState(s)
}

// announce writes down which kubelet configuration comes next, so that a later
// run can tell it from one that somebody else wrote, also where this one is
// killed halfway.
func (n *Node) announce(plan Plan) error {
	s := state{
		Containerd: plan.next.Containerd, Provided: plan.next.Provided, Memo: plan.memo, Drains: map[string]drain{},
		Made: plan.next.Made || plan.seen.Made,
	}
	for name, d := range plan.next.Drains {
		if !slices.Contains(plan.withdraw, name) {
			s.Drains[name] = d
		}
	}
	return n.writeState(s)
}

// remember writes down what later runs have to wait for: after the stages that
// it speaks of, so that a moment in it is never too early.
func (n *Node) remember(plan *Plan) error {
	now, err := n.host.now()
	if err != nil {
		return err
	}
	s := &plan.next
	for _, name := range plan.withdraw {
		d := s.Drains[name]
		d.Since = now
		s.Drains[name] = d
	}
	s.Memo = plan.memo
	if last := len(s.Provided) - 1; plan.entries != nil && (last < 0 || !sameEntries(s.Provided[last].Entries, plan.entries)) {
		var running []process
		if !n.elsewhere {
			if running, err = n.host.kubelets(); err != nil {
				return err
			}
		}
		s.provide(plan.entries, now, running)
	}
	return n.writeState(*s)
}

// writeState writes the state where it is another than the one on disk.
func (n *Node) writeState(s state) error {
	if len(s.Drains) == 0 {
		s.Drains = nil
	}
	data, err := s.encode()
	if err != nil {
		return err
	}
	old, err := os.ReadFile(n.path(stateFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return describe(err)
	}
	if bytes.Equal(old, data) || old == nil && s.empty() {
		return nil
	}
	return n.disk.write([]file{{path: n.path(stateFile), data: data, mode: 0o644}})
}

// stage makes the changes of one stage of a plan.
func (n *Node) stage(stage Stage, changes []Change, plan Plan) error {
	var files []file
	var gone, goneDirs []string
	for _, c := range changes {
		path := n.path(c.Path)
		switch {
		case c.New == nil && c.dir:
			goneDirs = append(goneDirs, filepath.Dir(path))
		case c.New == nil:
			gone = append(gone, path)
		default:
			f := file{path: path, data: c.New, mode: c.mode, dir: c.dir, link: c.link}
			if stage == StageKubelet {
				if err := n.keepPrevious(c, plan.binDir); err != nil {
					return err
				}
			}
			if stage == StageHosts {
				f.scratch = n.path(plan.hostsDir)
				if err := n.prepare(c); err != nil {
					return err
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

// prepare readies a namespace that is there for a new hosts.toml: what is
// somebody else's is kept, and the directory is closed where a secret comes.
func (n *Node) prepare(c Change) error {
	if c.save {
		name := filepath.Base(filepath.Dir(c.Path)) + "-" + hosts.Hash(c.Old)[:12] + ".toml"
		if err := n.disk.write([]file{{path: n.path(savedDir, name), data: c.Old, mode: 0o600}}); err != nil {
			return err
		}
	}
	if c.dir || c.mode&0o077 != 0 {
		return nil
	}
	return n.disk.chmod(filepath.Dir(n.path(c.Path)), dirMode(c.mode))
}
