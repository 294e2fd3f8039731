package watch

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// Events turns file events into hints. It watches the directories of paths,
// since a watch on a file ends with the file, and those above them, since a
// directory may be replaced; and where a link is on the way, the directory that
// the link stands in and the one that it leads to.
//
// An event's file name is not looked at: a ConfigMap volume changes by the
// rename of a link with another name.
type Events struct {
	hints   chan struct{}
	watcher *fsnotify.Watcher // nil where there are no events to be had
	log     *slog.Logger
	done    chan struct{}
	full    bool // said that no more can be watched

	mu      sync.Mutex // guards watched
	watched interests
}

// interests are the directories to watch. In one that maps to names only these
// matter: it is watched because a directory in it may be replaced. nil means
// that all do.
type interests map[string][]string

// all has every name in dir matter.
func (in interests) all(dir string) { in[dir] = nil }

// one has a name in dir matter.
func (in interests) one(dir, name string) {
	names, ok := in[dir]
	if (!ok || names != nil) && !slices.Contains(names, name) {
		in[dir] = append(names, name)
	}
}

// matters reports whether an event with this path is a hint.
func (in interests) matters(path string) bool {
	names, ok := in[filepath.Dir(path)]
	return !ok || names == nil || slices.Contains(names, filepath.Base(path))
}

// NewEvents starts watching nothing yet. Where the system has no watches left,
// it says so and gives no hints; the tick of the watcher has to do.
func NewEvents(log *slog.Logger) *Events {
	e := &Events{hints: make(chan struct{}, 1), log: log, done: make(chan struct{})}
	watcher, err := fsnotify.NewWatcher()
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
			e.mu.Lock()
			matters := e.watched.matters(event.Name)
			e.mu.Unlock()
			if event.Op == fsnotify.Chmod || !matters {
				continue
			}
		case err, ok := <-e.watcher.Errors:
			if !ok {
				return
			}
			// An overflow lost events: look at everything, as after any.
			if !errors.Is(err, fsnotify.ErrEventOverflow) {
				e.log.Warn("file events", "error", err)
			}
		}
		e.Hint()
	}
}

// Watch watches what can change any of paths, and nothing else. It is called
// after each look: a directory that was replaced has a new watch then.
func (e *Events) Watch(paths []string) {
	if e.watcher == nil {
		return
	}
	wanted := interests{}
	for _, path := range paths {
		wanted.add(path, 0)
	}
	e.mu.Lock()
	before := e.watched
	e.watched = wanted
	e.mu.Unlock()
	for dir := range before {
		if _, ok := wanted[dir]; !ok {
			_ = e.watcher.Remove(dir) // it may have gone by itself
		}
	}
	for dir := range wanted {
		err := e.watcher.Add(dir)
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrNotExist):
			e.Hint() // it was there a moment ago
		case !e.full:
			e.full = true
			e.log.Warn("not everything can be watched; other changes are noticed at the next tick", "directory", dir, "error", err, "remedy", "raise fs.inotify.max_user_watches")
		}
	}
}

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// add adds the directory of path and the one above it, or the nearest that
// exist, and follows the links on the way.
func (in interests) add(path string, links int) {
	dir := filepath.Dir(path)
	for dir != filepath.Dir(dir) {
		if info, err := os.Stat(dir); err == nil && info.IsDir() {
			break
		}
		dir = filepath.Dir(dir)
	}
	in.all(dir)
	in.one(filepath.Dir(dir), filepath.Base(dir))
	for at := path; at != filepath.Dir(at) && links < maxLinks; at = filepath.Dir(at) {
		target, err := os.Readlink(at)
		if err != nil {
			continue
		}
		in.one(filepath.Dir(at), filepath.Base(at))
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(at), target)
		}
		if rest, err := filepath.Rel(at, path); err == nil {
			in.add(filepath.Join(target, rest), links+1)
		}
		return
	}
}
