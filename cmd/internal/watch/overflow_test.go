package watch

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// A limited place has a log, and limits that a test sets.
type limited struct {
	*place
	log     strings.Builder
	started int
	noStart error             // why no watcher can be started
	noAdd   func(string) bool // directories that do not fit into the table
}

func newLimited(t *testing.T, paths ...string) *limited {
	l := &limited{place: newPlace(t, paths...)}
	e := l.events
	e.log = slog.New(slog.NewTextHandler(&l.log, nil))
	start, add := e.start, e.add
	e.start = func() (*fsnotify.Watcher, error) {
		l.started++
		if l.noStart != nil {
			return nil, l.noStart
		}
		return start()
	}
	e.add = func(w *fsnotify.Watcher, dir string) error {
		if l.noAdd != nil && l.noAdd(dir) {
			return unix.ENOSPC
		}
		return add(w, dir)
	}
	return l
}

// wantWatching checks how well file changes are noticed, and how often the log
// says that this got worse and better.
func (l *limited) wantWatching(degraded string, losses, worse, better int) {
	l.Helper()
	h := l.events.watching
	if h.Dropped != losses || (h.Degraded == "") != (degraded == "") || !strings.Contains(h.Degraded, degraded) {
		l.Errorf("it is %+v; want %q and %d losses", h, degraded, losses)
	}
	text := l.log.String()
	if strings.Count(text, "level=WARN") != worse || strings.Count(text, "level=INFO") != better {
		l.Errorf("the log is\n%s\nwant %d warnings and %d recoveries", text, worse, better)
	}
}

func TestNoInstancesLeft(t *testing.T) {
	l := newLimited(t, "file")
	l.noStart = fmt.Errorf("start: %w", unix.EMFILE)
	l.settle()
	l.settle()
	l.wantWatching("; raise fs.inotify.max_user_instances", 0, 1, 0)
	l.events.Hint() // a signal is still one
	select {
	case <-l.events.Hints():
	default:
		t.Error("no hint")
	}
	l.noStart = nil
	l.hinted("events again", func() { l.write("file", "1") })
	l.wantWatching("", 0, 1, 1)
}

func TestNoWatchesLeft(t *testing.T) {
	l := newLimited(t, "a/file", "b/file")
	l.mkdir("a")
	l.mkdir("b")
	l.noAdd = func(dir string) bool { return dir == l.path("b") }
	l.settle() // what does not fit gives no hint
	l.hinted("in a directory that is watched", func() { l.write("a/file", "1") })
	l.wantWatching(fmt.Sprintf("1 of %d directories cannot be watched: no space left on device; raise fs.inotify.max_user_watches", len(l.events.wanted)), 0, 1, 0)
	l.noAdd = nil
	l.hinted("in one for which there is room again", func() { l.write("b/file", "1") })
	l.wantWatching("", 0, 1, 1)
}

// TestOverflow makes more changes than the system queues, among them the
// replacement of a directory, which goes unnoticed.
func TestOverflow(t *testing.T) {
	data, err := os.ReadFile("/proc/sys/fs/inotify/max_queued_events")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || limit > 1<<18 {
		t.Skipf("%d events are kept, %v", limit, err)
	}
	l := newLimited(t, "a/b/file")
	l.mkdir("a/b")
	l.write("a/one", "1")
	l.write("a/other", "1")
	l.hinted("the loss", func() {
		l.events.mu.Lock()
		defer l.events.mu.Unlock()
		const read = 1 << 12 // events that the system has delivered
		for i := range limit + read {
			// The system merges equal events.
			l.must(os.Chmod(l.path([]string{"a/one", "a/other"}[i%2]), 0o600))
		}
		l.remove("a/b")
		l.mkdir("a/b")
	})
	l.wantWatching("", 1, 1, 1)
	if !strings.Contains(l.log.String(), "; raise fs.inotify.max_queued_events") {
		t.Errorf("the log is\n%s\nwant what to do", l.log.String())
	}
	l.hinted("in the new directory", func() { l.write("a/b/file", "1") })
}

// TestOverflowTwice loses events twice before the next pass: whoever takes the second
// error lets fsnotify go on.
func TestOverflowTwice(t *testing.T) {
	l := newLimited(t, "file")
	l.settle()
	l.hinted("two overflows", func() {
		for range 2 {
			select {
			case l.events.watcher.Errors <- fsnotify.ErrEventOverflow:
			case <-time.After(10 * time.Second):
				t.Fatal("the second error is not taken")
			}
		}
	})
	l.wantWatching("", 1, 1, 1)
}

// TestOverflows checks that events are given up for a while if they are lost
// again and again.
func TestOverflows(t *testing.T) {
	l := newLimited(t, "file")
	l.settle()
	overflow := func() { l.events.watcher.Errors <- fsnotify.ErrEventOverflow }
	l.hinted("an overflow", overflow)
	if l.started != 2 {
		t.Errorf("started %d watchers; want a second one at once", l.started)
	}
	l.hinted("an overflow soon after", overflow)
	l.settle()
	l.wantWatching("overflow", 2, 2, 1)
	if l.started != 2 {
		t.Errorf("started %d watchers; want no third one yet", l.started)
	}
	l.events.rest = time.Now()
	l.hinted("events again", func() { l.write("file", "1") })
	l.wantWatching("", 2, 2, 2)
}
