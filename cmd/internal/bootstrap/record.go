package bootstrap

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// recordFile is where a node's record is, and copyDir holds the files that it
// names, each under its hash. Only root can read them.
const (
	recordFile = plan.StateDir + "/bootstrap.json"
	copyDir    = plan.StateDir + "/bootstrap"
)

// A record says what was on the node before mirrorcred changed it. It is written
// before the first change.
type record struct {
	Version int `json:"version"`
	// Entries are the changed files in the order of their first change.
	Entries []entry `json:"entries,omitempty"`
	// Owed are commands that belong to a change and may not have run yet.
	Owed [][]string `json:"owed,omitempty"`
}

// An entry is one changed file.
type entry struct {
	Phase Phase  `json:"phase"`
	Path  string `json:"path"`
	// Old is what was there before; nil if nothing was.
	Old *saved `json:"old"`
	// Wrote are the hashes of everything that mirrorcred may have left there; "" stands
	// for no file.
	Wrote   []string `json:"wrote"`
	Part    Part     `json:"part,omitempty"`
	Restore bool     `json:"restore,omitempty"`
}

// A saved is a file as it was before. The bytes of a regular file are in copyDir.
type saved struct {
	Hash string      `json:"hash,omitempty"`
	Link string      `json:"link,omitempty"`
	Dir  bool        `json:"dir,omitempty"`
	Mode fs.FileMode `json:"mode"`
	UID  int         `json:"uid"`
	GID  int         `json:"gid"`
}

func save(f *File) *saved {
	if f == nil {
		return nil
	}
	s := &saved{Link: f.Link, Dir: f.Dir, Mode: f.Mode, UID: f.UID, GID: f.GID}
	if f.isRegular() {
		s.Hash = hosts.Hash(f.Data)
	}
	return s
}

func (f *File) isRegular() bool { return !f.Dir && f.Link == "" }

// print identifies the contents of a file, whatever its mode and owner; "" stands for no
// file.
func (f *File) print() string { return save(f).print() }

func (s *saved) print() string {
	switch {
	case s == nil:
		return ""
	case s.Dir:
		return "directory"
	case s.Link != "":
		return "link " + s.Link
	}
	return s.Hash
}

// copyOf returns where the copy of a saved file is, "" if there is none.
func (s *saved) copyOf() string {
	if s == nil || s.Hash == "" {
		return ""
	}
	return path.Join(copyDir, s.Hash)
}

// add records a step that is about to be made. It returns the file that must be copied
// first, nil if none.
func (r *record) add(phase Phase, s Step) (*File, error) {
	i := slices.IndexFunc(r.Entries, func(e entry) bool { return e.Path == s.Path })
	if i < 0 {
		r.Entries = append(r.Entries, entry{
			Phase: phase, Path: s.Path, Old: save(s.Old), Wrote: []string{s.New.print()}, Part: s.Part, Restore: s.Restore,
		})
		return s.Old, nil
	}
	e := &r.Entries[i]
	if now := s.Old.print(); !slices.Contains(e.Wrote, now) && e.Old.print() != now {
		// Another program has changed it since: keep that change.
		old, err := without(s.Old, s.Part)
		if err != nil {
			return nil, err
		}
		e.Old, e.Wrote = save(old), nil
		e.add(s)
		return old, nil
	}
	e.add(s)
	return nil, nil
}

func (e *entry) add(s Step) {
	if hash := s.New.print(); !slices.Contains(e.Wrote, hash) {
		e.Wrote = append(e.Wrote, hash)
	}
	e.Part, e.Restore = s.Part, s.Restore || e.Restore
}

// without returns a file without mirrorcred's part, nil if nothing is left of it.
func without(f *File, part Part) (*File, error) {
	cut := parts[part]
	if f == nil || !f.isRegular() || cut == nil {
		return f, nil
	}
	data, err := cut(f.Data)
	if err != nil || data == nil {
		return nil, err
	}
	return f.with(data, 0), nil
}

func (r record) encode() ([]byte, error) {
	r.Version = 1
	data, err := json.MarshalIndent(r, "", "  ")
	return append(data, '\n'), err
}

// damaged is the error of a record that cannot be read. The copies must go with it:
// without a record undo takes them for what is not needed any more.
func damaged(name, why string) error {
	return fmt.Errorf("%s: %s; it records what undo puts back, so restore it from a backup, or start anew: move it out of this directory, together with %s, which has the files as they were before",
		name, why, strings.TrimSuffix(name, ".json"))
}

// decodeRecord reads a record.
func decodeRecord(name string, data []byte) (record, error) {
	var r record
	if len(data) == 0 {
		return r, damaged(name, "it is empty")
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, damaged(name, err.Error())
	}
	switch {
	case r.Version == 0:
		return r, damaged(name, "it has no version")
	case r.Version != 1:
		return r, fmt.Errorf("%s: version %d is from a newer mirrorcred; use that one", name, r.Version)
	}
	for _, e := range r.Entries {
		if !path.IsAbs(e.Path) || path.Clean(e.Path) != e.Path || e.Old != nil && strings.ContainsAny(e.Old.Hash, "/.") {
			return r, fmt.Errorf("%s: it names %q, which mirrorcred did not write; move the file away", name, e.Path)
		}
	}
	return r, nil
}

// copies returns the names of the copies that the record needs.
func (r record) copies() map[string]bool {
	names := map[string]bool{}
	for _, e := range r.Entries {
		if e.Old != nil && e.Old.Hash != "" {
			names[e.Old.Hash] = true
		}
	}
	return names
}

// note records the steps that are about to be made, and keeps copies of the files that
// they replace.
func (n *Node) note(r *record, phase Phase, p Plan) error {
	var keep []*File
	for _, s := range p.Steps {
		if s.Path == "" {
			owe(r, n.offline, s.Command)
			continue
		}
		old, err := r.add(phase, s)
		if err != nil {
			return err
		}
		if old != nil && old.isRegular() {
			keep = append(keep, old)
		}
	}
	for _, f := range keep {
		if err := n.keep(f); err != nil {
			return err
		}
	}
	return n.writeRecord(*r)
}

func owe(r *record, offline bool, command []string) {
	if !offline && !slices.ContainsFunc(r.Owed, func(c []string) bool { return slices.Equal(c, command) }) {
		r.Owed = append(r.Owed, command)
	}
}

// keep keeps a copy of a file.
func (n *Node) keep(f *File) error {
	if err := n.mkdirAll(copyDir, 0o700); err != nil {
		return err
	}
	name := save(f).copyOf()
	old, err := n.disk.observe(name)
	if err != nil {
		return err
	}
	return n.disk.put(name, old, n.own(f.Data))
}

// own returns a file that only the user of this process can read.
func (n *Node) own(data []byte) *File {
	return &File{Data: data, Mode: 0o600, UID: os.Geteuid(), GID: os.Getegid()}
}

// record reads the node's record.
func (n *Node) record() (record, error) {
	f, err := n.disk.observe(recordFile)
	if err != nil || f == nil {
		return record{}, err
	}
	return decodeRecord(n.disk.at(recordFile), f.Data)
}

// writeRecord replaces the record. An empty one is removed.
func (n *Node) writeRecord(r record) error {
	old, err := n.disk.observe(recordFile)
	if err != nil {
		return err
	}
	if len(r.Entries) == 0 && len(r.Owed) == 0 {
		if err := n.disk.put(recordFile, old, nil); err != nil {
			return err
		}
		return n.disk.sync()
	}
	data, err := r.encode()
	if err != nil {
		return err
	}
	if err := n.mkdirAll(plan.StateDir, 0o755); err != nil {
		return err
	}
	// The copies come first: without them the record is worth nothing.
	if err := n.disk.sync(); err != nil {
		return err
	}
	if err := n.disk.put(recordFile, old, n.own(data)); err != nil {
		return err
	}
	return n.disk.sync()
}
