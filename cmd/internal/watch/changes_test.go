package watch

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// taken waits until a path is among those that changed.
func (p *place) taken(what, name string) {
	p.Helper()
	var all []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		paths, complete := p.events.Take()
		if !complete {
			p.Fatalf("%s: any path may have changed; want %s", what, name)
		}
		if all = append(all, paths...); slices.Contains(all, p.path(name)) {
			return
		}
	}
	p.Errorf("%s: changed are %q; want %s among them", what, all, name)
}

// watchAgain watches as the watcher does, and takes what changed by that.
func (p *place) watchAgain() {
	p.Helper()
	p.settle()
	p.events.Take()
}

func (p *place) covers(what, dir string, want bool) {
	p.Helper()
	if got := p.events.Covers(p.path(dir)); got != want {
		p.Errorf("%s: Covers(%s) = %v", what, dir, got)
	}
}

// TestChangesReported checks that each change in a watched directory is reported, also of a file that
// gives no hint, and each way in which a watch ends.
func TestChangesReported(t *testing.T) {
	p := newPlace(t, "a/b/file", "a/*")
	p.mkdir("a/b")
	p.mkdir("c")
	p.write("a/b/file", "1")
	for _, one := range []struct {
		what, path string
		change     func()
	}{
		{"written", "a/b/file", func() { p.write("a/b/file", "2") }},
		{"another file", "a/b/other", func() { p.write("a/b/other", "2") }},
		{"mode", "a/b/file", func() { p.must(os.Chmod(p.path("a/b/file"), 0o600)) }},
		{"replaced", "a/b/file", func() {
			p.write("c/new", "3")
			p.rename("c/new", "a/b/file")
		}},
		{"removed", "a/b/file", func() { p.remove("a/b/file") }},
		{"its directory renamed", "a/b", func() { p.rename("a/b", "a/x") }},
		{"its directory put back", "a/b", func() { p.rename("a/x", "a/b") }},
		{"the directory above replaced", "a", func() {
			p.rename("a", "c/a")
			p.mkdir("a/b")
			p.write("a/b/file", "4")
		}},
		{"its directory removed", "a/b", func() { p.remove("a/b") }},
	} {
		p.watchAgain()
		one.change()
		p.taken(one.what, one.path)
	}
	p.mkdir("a/b")
	p.watchAgain()
	p.paths = []string{"c/file"}
	p.settle()
	p.taken("no longer watched", "a/b")
}

// TestLostChangesReported checks that too many changes, and lost ones, are reported as that.
func TestLostChangesReported(t *testing.T) {
	p := newPlace(t, "file")
	p.watchAgain()
	if paths, all := p.events.Take(); len(paths) > 0 || !all {
		t.Errorf("without a change: %q, %v", paths, all)
	}
	p.events.mu.Lock()
	for i := range mostChanged + 1 {
		p.events.noteChanged(fmt.Sprint("/", i))
	}
	p.events.mu.Unlock()
	if paths, all := p.events.Take(); len(paths) > 0 || all {
		t.Errorf("of too many changes: %d paths, %v; want none, false", len(paths), all)
	}
	if _, all := p.events.Take(); !all {
		t.Error("what was reported is reported again")
	}
	p.events.watcher.Errors <- fsnotify.ErrEventOverflow
	<-p.events.Hints()
	for range 2 { // until a new watcher is started
		if _, all := p.events.Take(); all {
			t.Error("after lost events: true")
		}
		p.covers("after lost events", "", false)
	}
	p.settle()
	if _, all := p.events.Take(); all {
		t.Error("events were lost before the new watcher: true")
	}
	p.covers("a new watcher", "", true)
}

// TestCovers checks in which directories each change is reported.
func TestCovers(t *testing.T) {
	p := newPlace(t, "a/b/file", "link/file")
	p.mkdir("a/b")
	p.mkdir("c")
	p.link("c", "link")
	p.covers("before a watcher", "a/b", false)
	p.watchAgain()
	p.covers("on the way", "a", true)
	p.covers("watched", "a/b", true)
	p.covers("where a link leads", "c", true)
	p.covers("by way of a link", "link", false)
	p.covers("not there", "a/x", false)
	p.rename("a", "d")
	p.taken("moved away", "a")
	p.mkdir("a/b")
	p.covers("the directory above moved away", "a/b", false)
	p.settle()
	p.covers("the new one", "a/b", true)
}

// TestSearchAgain checks that a search that takes unchanged directories for what they were
// finds the same as one that looks at each.
func TestSearchAgain(t *testing.T) {
	p := newPlace(t, "a/b/file", "a/c/file", "a/*", "d/e/f/file", "link/e/file")
	reset := func() {
		for _, name := range []string{"a", "d", "g", "link"} {
			p.remove(name)
		}
		p.mkdir("a/b")
		p.mkdir("a/c")
		p.mkdir("d/e/f")
		p.mkdir("g/e")
		p.link("d", "link")
	}
	for what, change := range map[string]func(){
		"nothing":                  func() {},
		"a file":                   func() { p.write("a/b/file", "1") },
		"a directory replaced":     func() { p.rename("a/b", "g/b"); p.mkdir("a/b") },
		"one above replaced":       func() { p.rename("d", "g/d"); p.mkdir("d/e/f") },
		"a directory removed":      func() { p.remove("a/c") },
		"a directory for a link":   func() { p.remove("link"); p.mkdir("link/e") },
		"a link for a directory":   func() { p.rename("d/e", "g/f"); p.link("../g/f", "d/e") },
		"a link to another":        func() { p.remove("link"); p.link("g", "link") },
		"a file for a directory":   func() { p.remove("a/b"); p.write("a/b", "") },
		"the same one there again": func() { p.rename("d/e", "g/x"); p.rename("g/x", "d/e") },
	} {
		reset()
		p.settle()
		if !p.events.isStable {
			t.Fatalf("%s: never stable", what)
		}
		change()
		p.settle()
		got := p.events.wanted
		p.events.isStable = false
		p.settle()
		if want := p.events.wanted; !got.equal(want) {
			t.Errorf("%s: watched is %v; want %v", what, got, want)
		}
	}
}

// TestReplacedDirectoryWatchedAnew replaces a directory without an event, as a mount does: it is watched anew
// once what was found does not count any more.
func TestReplacedDirectoryWatchedAnew(t *testing.T) {
	p := newPlace(t, "a/b/file")
	p.mkdir("a/b")
	p.settle()
	dir, forged := p.path("a/b"), identity{inode: 1}
	one := p.events.wanted[dir]
	one.identity = forged
	p.events.wanted[dir], p.events.live[dir] = one, forged
	p.settle()
	if p.events.live[dir] != forged {
		t.Fatal("a directory without an event is looked at")
	}
	p.events.Trust = time.Nanosecond
	p.settle()
	if p.events.live[dir] == forged {
		t.Error("a directory is never looked at again")
	}
}

// TestTrustWaits has something change whenever all should be looked at: that is put off, but
// not for ever.
func TestTrustWaits(t *testing.T) {
	for _, one := range []struct {
		age     time.Duration
		changes bool
		want    bool
	}{
		{50 * time.Minute, false, false},
		{90 * time.Minute, false, true},
		{90 * time.Minute, true, false},
		{130 * time.Minute, true, true},
	} {
		e := NewEvents(slog.New(slog.DiscardHandler))
		e.Trust, e.searched = time.Hour, time.Now().Add(-one.age)
		if one.changes {
			e.noteChanged("/a/b/file")
		}
		if got := e.isOld(); got != one.want {
			t.Errorf("after %s, with changes: %t: all is looked at: %t; want %t", one.age, one.changes, got, one.want)
		}
	}
}

// TestWatchEnds has a watch end without an event, as it does when its file system is
// unmounted, and one with the same identity come.
func TestWatchEnds(t *testing.T) {
	p := newPlace(t, "a/b/file")
	p.mkdir("a/b")
	p.watchAgain()
	p.must(p.events.watcher.Remove(p.path("a/b")))
	p.covers("not known yet", "a/b", true)
	p.events.searched = time.Time{}
	p.settle()
	p.taken("what it may have missed", "a/b")
	p.hinted("a file in it", func() { p.write("a/b/file", "1") })
	before := p.events.searched
	p.settle()
	if !p.events.isStable || !p.events.searched.Equal(before) {
		t.Error("everything is looked at each time")
	}
}

// TestSearchElsewhere has a link lead to where all but one directory was of interest before.
func TestSearchElsewhere(t *testing.T) {
	p := newPlace(t, "a/*", "b/sub/file", "link/sub/file")
	p.mkdir("a/sub")
	p.mkdir("b/sub")
	p.link("b", "link")
	p.hinted("retargeted", func() {
		p.link("a", "link.new")
		p.rename("link.new", "link")
	})
	p.hinted("a file where it leads now", func() { p.write("a/sub/file", "1") })
}
