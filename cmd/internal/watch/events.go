package watch

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Events turns file events into hints. It watches directories, since a watch on
// a file ends with the file, and all of them on the way to what matters, since
// each may be replaced.
type Events struct {
	hints   chan struct{}
	watcher *fsnotify.Watcher // nil where there are no events to be had
	log     *slog.Logger
	done    chan struct{}
	full    bool // said that no more can be watched

	mu     sync.Mutex // guards what follows
	wanted interests
	live   map[string]identity // the watches that are set, by path
}

// NewEvents starts watching nothing yet. Where the system has no watches left,
// it says so and gives no hints; the tick of the watcher has to do.
func NewEvents(log *slog.Logger) *Events { return newEvents(log, fsnotify.NewWatcher) }

func newEvents(log *slog.Logger, start func() (*fsnotify.Watcher, error)) *Events {
	e := &Events{hints: make(chan struct{}, 1), log: log, done: make(chan struct{}), live: map[string]identity{}}
	watcher, err := start()
	if err != nil {
		log.Warn("no file events; changes are noticed at the next tick only", "error", err, "remedy", "raise fs.inotify.max_user_instances")
		close(e.done)
		return e
	}
	e.watcher = watcher
	go e.read()
	return e
}

// Hints returns the channel on which something happened.
func (e *Events) Hints() <-chan struct{} { return e.hints }

// Hint gives a hint from elsewhere, such as a signal.
func (e *Events) Hint() {
	select {
	case e.hints <- struct{}{}:
	default: // one is waiting, and says the same
	}
}

// Close ends the watching.
func (e *Events) Close() {
	if e.watcher != nil {
		e.watcher.Close()
	}
	<-e.done
}

func (e *Events) read() {
	defer close(e.done)
	for {
		select {
		case event, ok := <-e.watcher.Events:
			if !ok {
				return
			}
			if e.matters(event) {
				e.Hint()
			}
		case err, ok := <-e.watcher.Errors:
			if !ok {
				return
			}
			// An overflow lost events: look at everything, as after any.
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				e.log.Warn("file events", "error", err)
			}
			e.Hint()
		}
	}
}

// matters reports whether an event is a hint. All kinds are: a new mode too may
// open a map, or close a secret.
func (e *Events) matters(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
		delete(e.live, name) // the watch on a directory ends with it
	}
	return e.wanted.matter(name)
}

// Watch watches what can change any of paths, and nothing else; a path may end
// in a pattern. It is called after each look. Where it watches something new
// it gives a hint, since that may have changed after the look.
func (e *Events) Watch(paths []string) {
	if e.watcher == nil {
		return
	}
	wanted := interests{}
	for _, path := range paths {
		if path, err := filepath.Abs(path); err == nil {
			wanted.add(path, 0)
		}
	}
	e.mu.Lock()
	before := e.wanted
	e.wanted = wanted
	e.mu.Unlock()
	for dir := range before {
		if _, ok := wanted[dir]; !ok {
			e.unset(dir)
		}
	}
	fresh := !wanted.equal(before)
	for dir, d := range wanted {
		fresh = e.set(dir, d.identity) || fresh
	}
	if fresh {
		e.Hint()
	}
}

func (e *Events) unset(dir string) {
	_ = e.watcher.Remove(dir) // it may have gone by itself
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.live, dir)
}

// set watches a directory, and reports whether it was not watched before.
// Setting a watch again would do no harm, and costs more than the rest of a
// look where there are thousands.
func (e *Events) set(dir string, id identity) bool {
	e.mu.Lock()
	old, isSet := e.live[dir]
	e.mu.Unlock()
	if isSet && old == id {
		return false
	}
	if isSet {
		e.unset(dir) // it is that of another directory, which was moved away
	}
	err := e.watcher.Add(dir)
	switch {
	case err == nil:
		e.mu.Lock()
		e.live[dir] = id
		e.mu.Unlock()
		return true
	case errors.Is(err, fs.ErrNotExist):
		return true // it was there a moment ago
	case !e.full:
		e.full = true
		e.log.Warn("not everything can be watched; other changes are noticed at the next tick", "directory", dir, "error", err, "remedy", "raise fs.inotify.max_user_watches")
	}
	return false
}
