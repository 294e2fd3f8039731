package watch

import (
	"errors"
	"fmt"
	"io/fs"
)

// want replaces what is watched, and returns why some of it cannot be watched.
func (e *Events) want(wanted interests) error {
	e.mu.Lock()
	before := e.wanted
	e.wanted = wanted
	e.mu.Unlock()
	for dir := range before {
		if _, ok := wanted[dir]; !ok {
			e.unset(dir)
		}
	}
	fresh, failed := !wanted.equal(before), 0
	var failure error
	var added []string
	for dir, d := range wanted {
		isNew, err := e.set(dir, d.identity)
		if isNew {
			added = append(added, dir)
		}
		if err != nil {
			failure = err
			failed++
		}
	}
	fresh = e.confirm(added) > 0 || fresh
	e.mu.Lock()
	e.isStable = !fresh && failure == nil
	e.mu.Unlock()
	if fresh {
		e.Hint()
	}
	if failure != nil {
		return fmt.Errorf("%d of %d directories cannot be watched: %w", failed, len(wanted), failure)
	}
	return nil
}

func (e *Events) unset(dir string) {
	_ = e.watcher.Remove(dir) // it may be gone already
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, dir)
	e.noteChanged(dir) // events may be missing from now on
}

// set watches a directory, and reports whether it was not watched before.
// Setting a watch again would be harmless, but with thousands of them costs
// more than the rest of a pass.
func (e *Events) set(dir string, id identity) (bool, error) {
	e.mu.Lock()
	old, isSet := e.live[dir]
	e.mu.Unlock()
	if isSet && old == id {
		return false, nil
	}
	if isSet {
		e.unset(dir) // it belongs to another directory, which was moved away
	} else {
		// fsnotify may not have read yet that the previous directory is gone. With two
		// directories under one path it would panic later.
		_ = e.watcher.Remove(dir)
	}
	err := e.add(e.watcher, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // it was there a moment ago
	}
	if err != nil {
		return false, err
	}
	e.mu.Lock()
	e.live[dir] = id
	e.mu.Unlock()
	return true, nil
}

// confirm drops the watches, of those that were just set, that fsnotify has under another
// path, and returns how many are left. It has a directory once only: under its previous
// path if it was renamed a moment ago, or if it is mounted at two of the paths. Until it is
// watched under this path, it counts as not watched.
func (e *Events) confirm(added []string) int {
	missing := e.unconfirmed(added)
	for _, dir := range missing { // two directories may have changed places
		_ = e.add(e.watcher, dir) // the next call of Watch tries again
	}
	missing = e.unconfirmed(missing)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, dir := range missing {
		delete(e.live, dir)
	}
	return len(added) - len(missing)
}

// unconfirmed returns which of the directories fsnotify does not watch.
func (e *Events) unconfirmed(dirs []string) (missing []string) {
	if len(dirs) == 0 {
		return nil
	}
	has := e.registered()
	for _, dir := range dirs {
		if !has[dir] {
			missing = append(missing, dir)
		}
	}
	return missing
}

// registered returns the directories that fsnotify watches, by the paths that it has.
func (e *Events) registered() map[string]bool {
	list := e.watcher.WatchList()
	set := make(map[string]bool, len(list))
	for _, dir := range list {
		set[dir] = true
	}
	return set
}
