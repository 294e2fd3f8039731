package node

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// expectations are what a plan saw, by the path on this machine that will be
// renamed, replaced or removed. What another program has written since is kept:
// the run ends before that path, and the next plan sees it.
type expectations map[string]expected

// An expected is a file as a plan saw it.
type expected struct {
	path string // on this machine; the file, or the one in a directory to be removed
	data []byte // nil if it did not exist
	link bool   // it is a symbolic link to data
	// goes says that its directory is removed with it, which contained nothing
	// else.
	goes bool
}

// A ChangedError says that another program wrote a file while a plan for it was
// carried out. That program's file is kept.
type ChangedError struct{ Path string }

// Error returns the path, and what to do.
func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s: another program changed it during this run, so it was not written; run this again", e.Path)
}

// expect returns what must still be there when a stage makes its changes: what
// the plan saw, or what an earlier stage wrote.
func (n *Node) expect(stage plan.Stage, changes []plan.Change) expectations {
	written, all := map[string][]byte{}, expectations{}
	for _, c := range changes {
		if c.Stage != stage {
			if slices.Index(plan.Stages, c.Stage) < slices.Index(plan.Stages, stage) {
				written[c.Path] = c.New
			}
			continue
		}
		one := expected{path: n.path(c.Path), data: c.Old, link: c.Link, goes: c.Dir && c.New == nil}
		if data, ok := written[c.Path]; ok {
			one.data = data
		}
		place := one.path
		switch {
		case c.Dir:
			place = filepath.Dir(place)
		case c.New != nil && !c.Link:
			if to, err := n.follow(place); err == nil {
				place = to
			}
		}
		all[place] = one
	}
	return all
}

// check returns a [ChangedError] if a path no longer has what was seen. A path
// without an expectation passes.
func (all expectations) check(tree durable.Tree, path string) error {
	one, ok := all[path]
	if !ok {
		return nil
	}
	if one.holds(tree) {
		return nil
	}
	return &ChangedError{one.path}
}

func (one expected) holds(tree durable.Tree) bool {
	if one.link {
		to, err := tree.Readlink(one.path)
		if one.data == nil {
			return errors.Is(err, fs.ErrNotExist)
		}
		return err == nil && to == string(one.data)
	}
	data, err := tree.ReadFile(one.path, 0)
	if one.data == nil || err != nil {
		return one.data == nil && errors.Is(err, fs.ErrNotExist)
	}
	return bytes.Equal(data, one.data) && (!one.goes || one.isAlone(tree))
}

// isAlone reports whether the file is alone in its directory.
func (one expected) isAlone(tree durable.Tree) bool {
	entries, err := tree.ReadDir(filepath.Dir(one.path))
	return err == nil && len(without(entries, isTemporary)) == 1
}

// isNew reports whether a path did not exist, so that nothing may be replaced.
func (all expectations) isNew(path string) bool {
	one, ok := all[path]
	return ok && one.data == nil
}
