package bootstrap

import (
	"fmt"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// An undoing is the input for planning the undo of a phase.
type undoing struct {
	record record
	now    map[string]*File  // what each recorded path holds
	copies map[string][]byte // what the record keeps, by hash
	// programs returns the hashes of mirrorcred's programs as they are installed now,
	// by their file names. One that was refreshed since is still mirrorcred's.
	programs func() map[string][]string
}

// A Kept is a file that undo leaves alone, because another program has changed or removed
// it.
type Kept struct {
	Path, Reason string
}

// plan returns the steps that undo the changes of one stage, the last change first, and
// the files that stay.
func (u undoing) plan(of stage) (Plan, []Kept, error) {
	var p Plan
	var kept []Kept
	for _, e := range slices.Backward(u.record.Entries) {
		if stageOf(e) != of {
			continue
		}
		step, why, err := u.entry(e)
		switch {
		case err != nil:
			return p, kept, err
		case why != "":
			kept = append(kept, Kept{e.Path, why})
		case step != nil:
			p.Steps = append(p.Steps, *step)
		}
	}
	return p, kept, nil
}

// entry returns the step that undoes one change, nil for nothing to do, or why the
// file stays.
func (u undoing) entry(e entry) (*Step, string, error) {
	old, err := u.restored(e.Old)
	if err != nil {
		return nil, "", err
	}
	now := u.now[e.Path]
	switch {
	case now.equal(old):
		return nil, "", nil
	case slices.Contains(e.Wrote, now.print()), now == nil && e.Restore, u.isRefreshed(e, now):
		return &Step{Text: "as it was before", Path: e.Path, Old: now, New: old, Restore: true}, "", nil
	case now == nil && old == nil:
		return nil, "", nil
	case now == nil:
		return nil, "another program has removed it; a copy of what was there is " + e.Old.copyOf(), nil
	case parts[e.Part] == nil || !now.isRegular():
		return nil, u.edited(e), nil
	}
	rest, err := without(now, e.Part)
	switch {
	case err != nil:
		return nil, err.Error(), nil
	case rest.equal(now):
		return nil, "", nil
	}
	return &Step{Text: "without mirrorcred's part; another program has edited the rest", Path: e.Path, Old: now, New: rest}, "", nil
}

// isRefreshed reports whether a file is a program of mirrorcred's that was put in the
// place of the recorded one, as a package does when it is upgraded.
func (u undoing) isRefreshed(e entry, now *File) bool {
	name := path.Base(e.Path)
	if u.programs == nil || now == nil || !now.isRegular() || name != Plugin && e.Path != systemd.Program {
		return false
	}
	return slices.Contains(u.programs()[name], now.print())
}

func (u undoing) edited(e entry) string {
	if name := e.Old.copyOf(); name != "" {
		return "another program has changed it since; a copy of what was there before is " + name
	}
	return "another program has changed it since; remove it if it is not needed"
}

// restored returns a saved file with its bytes.
func (u undoing) restored(s *saved) (*File, error) {
	if s == nil {
		return nil, nil
	}
	f := &File{Link: s.Link, Dir: s.Dir, Mode: s.Mode, UID: s.UID, GID: s.GID}
	if s.Hash == "" {
		return f, nil
	}
	data, ok := u.copies[s.Hash]
	if !ok {
		return nil, fmt.Errorf("%s does not exist or is damaged, so undo cannot put the file back; restore it from a backup", s.copyOf())
	}
	f.Data = data
	return f, nil
}
