package bootstrap

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// planBack plans to put back the files of one stage. programs is as in [undoing].
func (n *Node) planBack(of stage, programs func() map[string][]string) (Plan, []Kept, error) {
	r, err := n.record()
	if err != nil {
		return Plan{}, nil, err
	}
	u := undoing{record: r, now: map[string]*File{}, copies: map[string][]byte{}, programs: programs}
	for _, e := range r.Entries {
		if stageOf(e) != of {
			continue
		}
		if u.now[e.Path], err = n.disk.observe(e.Path); err != nil {
			return Plan{}, nil, err
		}
		name := e.Old.copyOf()
		if name == "" {
			continue
		}
		if f, err := n.disk.observe(name); err != nil {
			return Plan{}, nil, err
		} else if f != nil && f.print() == e.Old.Hash {
			u.copies[e.Old.Hash] = f.Data
		}
	}
	p, kept, err := u.plan(of)
	if err != nil {
		return p, kept, err
	}
	p.Steps, err = n.withDirs(p.Steps)
	return p, kept, err
}

// carryBack makes the steps of one stage, and then forgets its changes, except for the
// files that stay. If it is killed, it can be planned and run again.
func (n *Node) carryBack(ctx context.Context, of stage, p Plan, kept []Kept) (left [][]string, err error) {
	r, err := n.record()
	if err != nil {
		return nil, err
	}
	for _, s := range p.Steps {
		if s.Path == "" {
			owe(&r, n.offline, s.Command)
		}
	}
	if len(p.Steps) > 0 {
		if err := n.writeRecord(r); err != nil {
			return nil, err
		}
	}
	if left, err = n.make(ctx, &r, p.Steps); err != nil {
		return left, err
	}
	r.Entries = slices.DeleteFunc(r.Entries, func(e entry) bool {
		return stageOf(e) == of && !slices.ContainsFunc(kept, func(l Kept) bool { return l.Path == e.Path })
	})
	if err := n.writeRecord(r); err != nil {
		return left, err
	}
	return left, n.forget(r)
}

// forget removes the copies that no entry needs any more.
func (n *Node) forget(r record) error {
	entries, err := n.disk.tree.ReadDir(n.disk.at(copyDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return describe(err)
	}
	needed := r.copies()
	for _, e := range entries {
		if needed[e.Name()] {
			continue
		}
		if err := n.drop(path.Join(copyDir, e.Name())); err != nil {
			return err
		}
	}
	if len(needed) > 0 {
		return nil
	}
	return n.drop(copyDir)
}

func (n *Node) drop(name string) error {
	if err := n.disk.remove(name); err != nil {
		return describe(err)
	}
	return n.disk.syncDir(plan.StateDir)
}
