package watch

import (
	"maps"
	"path/filepath"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// Events implements [node.Changes] with the events since a pass.
var _ node.Changes = (*Events)(nil)

// mostChanged is how many changed paths are remembered. If there are more, all may have
// changed.
const mostChanged = 10_000

// A changed is the set of paths with an event since it was last taken.
type changed struct {
	paths map[string]bool
	all   bool // any path may have changed
}

func (c *changed) add(path string) {
	switch {
	case c.all:
	case len(c.paths) == mostChanged:
		c.addAll()
	default:
		if c.paths == nil {
			c.paths = map[string]bool{}
		}
		c.paths[path] = true
	}
}

func (c *changed) addAll() { c.paths, c.all = nil, true }

// take returns the set and begins a new one.
func (c *changed) take() changed {
	taken := *c
	*c = changed{}
	return taken
}

// noteChanged notes an event for the next pass and for the next call of [Events.Watch].
// The caller holds mu.
func (e *Events) noteChanged(path string) {
	e.sincePass.add(path)
	e.sinceWatch.add(path)
}

// noteAllChanged notes that events may be missing. The caller holds mu.
func (e *Events) noteAllChanged() {
	e.sincePass.addAll()
	e.sinceWatch.addAll()
}

// Take returns the paths with an event since it was last called, and false if others may
// have changed too.
func (e *Events) Take() (paths []string, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	taken := e.sincePass.take()
	return slices.Collect(maps.Keys(taken.paths)), !taken.all && e.loss == nil
}

// Covers reports whether a directory is watched, and each directory on the way to it, so
// that each change of a file in it leads to an event. It does not follow links. Several
// goroutines may call it.
func (e *Events) Covers(dir string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.loss == nil {
		if _, isSet := e.live[dir]; !isSet {
			return false
		}
		if dir == "/" {
			return true
		}
		dir = filepath.Dir(dir)
	}
	return false
}

// dropEnded drops the watches that ended without an event, as they do if their file system
// is unmounted. Another one that is mounted there may have the same identity.
func (e *Events) dropEnded() {
	set := e.registered()
	e.mu.Lock()
	defer e.mu.Unlock()
	for dir := range e.live {
		if !set[dir] {
			delete(e.live, dir)
			e.noteChanged(dir)
		}
	}
}
