package watch

import (
	"cmp"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// Events turns file events into hints. It watches directories, since a watch on
// a file ends with the file, and all of them on the way to what matters, since
// each may be replaced.
//
// The system has only so many watches, and drops events that are not read in
// time. Until it works again, the watcher relies on its tick, and each pass
// tries again. All methods but Hint and Hints are for one goroutine.
type Events struct {
	// Root is the root of another machine's tree; links below it lead where they
	// would on that machine. "" for none.
	Root string
	// Trust is how long a directory without an event counts as unchanged; twice as long
	// while other directories have events. It has an end because a mount, for example, causes
	// no event. 0 means 30 s, the watcher's default tick.
	Trust time.Duration

	hints    chan struct{}
	log      *slog.Logger
	start    func() (*fsnotify.Watcher, error)
	add      func(w *fsnotify.Watcher, dir string) error
	watcher  *fsnotify.Watcher // nil if there are no events
	done     chan struct{}     // closed when the watcher is no longer read
	watching FileWatching
	degraded episode.Episode
	paths    []string          // of the last search
	links    map[string]string // that it found, with where they lead
	searched time.Time         // when everything was last looked at
	lost     time.Time         // when events were last lost
	rest     time.Time         // no watcher is started before this

	mu     sync.Mutex // guards the fields below
	wanted interests
	live   map[string]identity // the watches that are set, by path
	loss   error               // of events, since the watcher was started
	// What had an event since a pass began to look, and since Watch was called.
	sincePass, sinceWatch changed
	// isStable says that the last call of Watch found nothing new.
	isStable bool
}

// lossRest is how long to rely on the tick if events were lost twice within
// that time: more would be lost.
const lossRest = time.Minute

// NewEvents returns Events that watch nothing yet.
func NewEvents(log *slog.Logger) *Events {
	return &Events{hints: make(chan struct{}, 1), log: log, start: fsnotify.NewWatcher, add: (*fsnotify.Watcher).Add}
}

// Hints returns the channel of hints.
func (e *Events) Hints() <-chan struct{} { return e.hints }

// Hint adds a hint from elsewhere, such as a signal.
func (e *Events) Hint() {
	select {
	case e.hints <- struct{}{}:
	default: // one is waiting already
	}
}

// Close stops watching.
func (e *Events) Close() {
	if e.watcher != nil {
		e.watcher.Close()
		<-e.done
		e.watcher = nil
	}
}

// open starts a watcher that watches nothing yet.
func (e *Events) open() error {
	watcher, err := e.start()
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.wanted, e.live, e.loss, e.isStable = nil, map[string]identity{}, nil, false
	e.noteAllChanged()
	e.mu.Unlock()
	e.watcher, e.done = watcher, make(chan struct{})
	go e.read(watcher, e.done)
	return nil
}

// read reads until the watcher is closed. A lost event may have been the end of a
// watch, so a watcher that has lost one is useless. It is still read, since fsnotify
// keeps its lock until an error is taken.
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
			if errors.Is(err, unix.EINVAL) {
				// A directory was renamed and then removed, so the system had ended its
				// watch when fsnotify wanted to. The event of the rename follows.
				continue
			}
			e.mu.Lock()
			e.loss = err
			e.mu.Unlock()
			e.Hint() // reconcile everything
		}
	}
}

// closeIfLossy closes a watcher that has lost events.
func (e *Events) closeIfLossy() {
	e.mu.Lock()
	loss := e.loss
	e.mu.Unlock()
	if e.watcher == nil || loss == nil {
		return
	}
	e.Close()
	e.watching.Dropped++
	e.note(loss)
	now := time.Now()
	if now.Sub(e.lost) < lossRest {
		e.rest = now.Add(lossRest)
	}
	e.lost = now
}

// matters reports whether an event is a hint. Every kind is: a new mode may
// make a map readable, or a secret unreadable. What a pass itself builds is
// not, or a pass that fails on a full disk would start the next one at once.
func (e *Events) matters(event fsnotify.Event) bool {
	name := filepath.Clean(event.Name)
	if node.IsTemporary(filepath.Base(name)) {
		return false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.noteChanged(name)
	if event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename) {
		delete(e.live, name) // the watch on a directory ends with it
	}
	return e.wanted.matter(name)
}

// Watch watches what can change any of paths, and nothing else; a path may end
// in a pattern. It is called after each pass, and returns how well that works.
// If it watches something new it adds a hint, since that may have changed after
// the pass.
func (e *Events) Watch(paths []string) FileWatching {
	e.closeIfLossy()
	if e.watcher == nil {
		if time.Now().Before(e.rest) {
			return e.watching
		}
		if err := e.open(); err != nil {
			e.note(err)
			return e.watching
		}
	}
	e.note(e.want(e.search(paths)))
	return e.watching
}

// isOld reports whether it is time to look at everything. That takes as long as a pass, so
// while something changes it waits for another Trust.
func (e *Events) isOld() bool {
	trust := cmp.Or(e.Trust, 30*time.Second)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.sinceWatch.paths) > 0 {
		trust *= 2
	}
	return time.Since(e.searched) >= trust
}

// search returns what to watch.
func (e *Events) search(paths []string) interests {
	isOld := e.isOld()
	if isOld {
		e.dropEnded()
	}
	e.mu.Lock()
	since, before := e.sinceWatch.take(), e.wanted
	if isOld || !e.isStable || since.all || !slices.Equal(paths, e.paths) {
		before = nil
	}
	e.mu.Unlock()
	e.paths = paths
	s := e.searchFrom(before, since.paths)
	if before != nil && s.isMoved {
		before = nil
		s = e.searchFrom(nil, nil)
	}
	if before == nil {
		e.searched = time.Now()
	}
	e.links = s.links
	return s.found
}

// searchFrom searches. before is what the last search found, with the paths that had an
// event since, nil to look at everything.
func (e *Events) searchFrom(before interests, changed map[string]bool) *search {
	s := &search{
		root: e.Root, found: interests{}, links: map[string]string{},
		before: before, linksBefore: e.links, changed: changed, doubtful: map[string]bool{},
	}
	for _, path := range e.paths {
		if path, err := filepath.Abs(path); err == nil {
			s.add(path, 0)
		}
	}
	return s
}
