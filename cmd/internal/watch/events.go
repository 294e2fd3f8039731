package watch

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// Events turns file events into hints. It watches directories, since a watch on
// a file ends with the file, and all of them on the way to what matters, since
// each may be replaced.
//
// The system has only so many watches, and drops events that are not read in
// time. Then the tick of the watcher has to do, and each look tries anew. Its
// methods are for one goroutine, but for Hint and Hints.
type Events struct {
	hints   chan struct{}
	log     *slog.Logger
	start   func() (*fsnotify.Watcher, error)
	add     func(w *fsnotify.Watcher, dir string) error
	watcher *fsnotify.Watcher // nil where there are no events to be had
	done    chan struct{}     // closed when nobody reads from the watcher any more
	hearing Hearing
	lost    time.Time // when events were lost last
	rest    time.Time // no watcher is started before

	mu     sync.Mutex // guards what follows
	wanted interests
	live   map[string]identity // the watches that are set, by path
	loss   error               // of events, since the watcher was started
}

// lossRest is how long the tick has to do where events were lost twice within
// that time: whoever makes so many will make more.
const lossRest = time.Minute

// NewEvents starts watching nothing yet.
func NewEvents(log *slog.Logger) *Events {
	return &Events{hints: make(chan struct{}, 1), log: log, start: fsnotify.NewWatcher, add: (*fsnotify.Watcher).Add}
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
		<-e.done
		e.watcher = nil
	}
}

// open starts a watcher, in which nothing is watched yet.
func (e *Events) open() error {
	watcher, err := e.start()
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.wanted, e.live, e.loss = nil, map[string]identity{}, nil
	e.mu.Unlock()
	e.watcher, e.done = watcher, make(chan struct{})
	go e.read(watcher, e.done)
	return nil
}

// read reads until the watcher is closed or has lost events. Those that were
// lost may have said that a watch has ended, so that it is of no use any more.
func (e *Events) read(watcher *fsnotify.Watcher, done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case event, ok := <-watcher.Events:
			if !ok {
				return
			}
			if e.matters(event) {
				e.Hint()
			}
		case err, ok := <-watcher.Errors:
			if !ok {
				return
			}
			e.mu.Lock()
			e.loss = err
			e.mu.Unlock()
			e.Hint() // look at everything
			return
		}
	}
}

// mend closes a watcher that has lost events.
func (e *Events) mend() {
	e.mu.Lock()
	loss := e.loss
	e.mu.Unlock()
	if e.watcher == nil || loss == nil {
		return
	}
	e.Close()
	e.hearing.Losses++
	e.hear(loss)
	now := time.Now()
	if now.Sub(e.lost) < lossRest {
		e.rest = now.Add(lossRest)
	}
	e.lost = now
}

// matters reports whether an event is a hint. All kinds are: a new mode too may
// open a map, or close a secret. What a look itself builds is none, or one that
// fails because the disk is full would have itself called again at once.
func (e *Events) matters(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name)
	e.mu.Lock()
	defer e.mu.Unlock()
	if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
		delete(e.live, name) // the watch on a directory ends with it
	}
	return e.wanted.matter(name) && !node.IsTemporary(filepath.Base(name))
}

// Watch watches what can change any of paths, and nothing else; a path may end
// in a pattern. It is called after each look, and says how well it can. Where it
// watches something new it gives a hint, since that may have changed after the
// look.
func (e *Events) Watch(paths []string) Hearing {
	e.mend()
	if e.watcher == nil {
		if time.Now().Before(e.rest) {
			return e.hearing
		}
		if err := e.open(); err != nil {
			e.hear(err)
			return e.hearing
		}
	}
	wanted := interests{}
	for _, path := range paths {
		if path, err := filepath.Abs(path); err == nil {
			wanted.add(path, 0)
		}
	}
	e.hear(e.want(wanted))
	return e.hearing
}

// want watches what is wanted instead of what was, and returns why some of it
// cannot be watched.
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
	for dir, d := range wanted {
		isNew, err := e.set(dir, d.identity)
		fresh = fresh || isNew
		if err != nil {
			failure = err
			failed++
		}
	}
	if fresh {
		e.Hint()
	}
	if failure != nil {
		return fmt.Errorf("%d of %d directories cannot be watched: %w", failed, len(wanted), failure)
	}
	return nil
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
func (e *Events) set(dir string, id identity) (bool, error) {
	e.mu.Lock()
	old, isSet := e.live[dir]
	e.mu.Unlock()
	if isSet && old == id {
		return false, nil
	}
	if isSet {
		e.unset(dir) // it is that of another directory, which was moved away
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
