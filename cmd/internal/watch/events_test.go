package watch

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A place is a directory with files, and its events.
type place struct {
	*testing.T
	dir    string
	events *Events
	paths  []string // that are watched, below dir
}

func newPlace(t *testing.T, paths ...string) *place {
	p := &place{T: t, dir: t.TempDir(), paths: paths, events: NewEvents(slog.New(slog.DiscardHandler))}
	t.Cleanup(p.events.Close)
	return p
}

func (p *place) path(name string) string { return filepath.Join(p.dir, name) }

func (p *place) must(err error) {
	p.Helper()
	if err != nil {
		p.Fatal(err)
	}
}

func (p *place) mkdir(name string) { p.Helper(); p.must(os.MkdirAll(p.path(name), 0o755)) }
func (p *place) write(name, text string) {
	p.Helper()
	p.must(os.WriteFile(p.path(name), []byte(text), 0o644))
}
func (p *place) rename(from, to string) { p.Helper(); p.must(os.Rename(p.path(from), p.path(to))) }
func (p *place) remove(name string)     { p.Helper(); p.must(os.RemoveAll(p.path(name))) }
func (p *place) link(target, name string) {
	p.Helper()
	p.must(os.Symlink(target, p.path(name)))
}

// settle watches as the watcher does, until nothing is new.
func (p *place) settle() {
	p.Helper()
	var paths []string
	for _, name := range p.paths {
		paths = append(paths, p.path(name))
	}
	for range 100 {
		p.events.Watch(paths)
		select {
		case <-p.events.Hints():
		case <-time.After(30 * time.Millisecond):
			return
		}
	}
	p.Fatal("each pass gives another hint")
}

// hinted checks that a change gives a hint, and settles.
func (p *place) hinted(what string, change func()) {
	p.Helper()
	p.settle()
	change()
	select {
	case <-p.events.Hints():
	case <-time.After(10 * time.Second):
		p.Errorf("%s: no hint", what)
	}
	p.settle()
}

// TestMapSaved saves a map as editors do.
func TestMapSaved(t *testing.T) {
	p := newPlace(t, "etc/mirrors.toml")
	p.mkdir("etc")
	p.write("etc/mirrors.toml", "1")
	for range 2 { // a watch must outlive each of them
		p.hinted("written in place", func() { p.write("etc/mirrors.toml", "2") })
		p.hinted("renamed over", func() {
			p.write("etc/.mirrors.toml.tmp", "3")
			p.rename("etc/.mirrors.toml.tmp", "etc/mirrors.toml")
		})
		p.hinted("renamed away and created", func() {
			p.rename("etc/mirrors.toml", "etc/mirrors.toml~")
			p.write("etc/mirrors.toml", "4")
		})
		p.hinted("removed", func() { p.remove("etc/mirrors.toml") })
		p.hinted("created", func() { p.write("etc/mirrors.toml", "5") })
		p.hinted("mode", func() { p.must(os.Chmod(p.path("etc/mirrors.toml"), 0o600)) })
		p.hinted("linked", func() {
			p.write("etc/other", "6")
			p.remove("etc/mirrors.toml")
			p.link("other", "etc/mirrors.toml")
		})
		p.hinted("written behind the link", func() { p.write("etc/other", "7") })
		p.hinted("unlinked", func() {
			p.remove("etc/mirrors.toml")
			p.write("etc/mirrors.toml", "8")
		})
	}
}

// TestIrrelevantFileGivesNoHint checks that a file that does not matter gives no hint.
func TestIrrelevantFileGivesNoHint(t *testing.T) {
	p := newPlace(t, "etc/mirrors.toml")
	p.mkdir("etc")
	p.write("etc/mirrors.toml", "1")
	p.settle()
	p.write("etc/.mirrors.toml.swp", "1")
	p.write("etc/other", "1")
	p.mkdir("var")
	// Events come in order, so once this one is here, those above are too.
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		<-p.events.Hints()
	}()
	p.write("etc/mirrors.toml", "2")
	<-passed
	p.events.mu.Lock()
	defer p.events.mu.Unlock()
	for _, name := range []string{"etc/.mirrors.toml.swp", "etc/other", "var"} {
		if p.events.wanted.matter(p.path(name)) {
			t.Errorf("%s matters", name)
		}
	}
}

func TestMapBehindLinks(t *testing.T) {
	p := newPlace(t, "etc/mirrors.toml")
	p.mkdir("etc")
	p.mkdir("a")
	p.mkdir("b")
	p.write("a/map", "1")
	p.write("b/map", "2")
	p.link("a", "now")
	p.link(p.path("now/map"), "etc/mirrors.toml")
	retarget := func(target string) func() {
		return func() {
			p.link(target, "now.tmp")
			p.rename("now.tmp", "now")
		}
	}
	p.hinted("behind two links", func() { p.write("a/map", "3") })
	p.hinted("retargeted", retarget("b"))
	p.hinted("at the new target", func() { p.write("b/map", "4") })
	p.hinted("retargeted to nothing", retarget("c"))
	p.hinted("the target is made", func() { p.mkdir("c") })
	p.hinted("and its file", func() { p.write("c/map", "5") })
	p.hinted("a circle", retarget("now"))
	p.hinted("and back", retarget("a"))
}

// TestConfigMap changes a map as the kubelet changes a volume: the watched name
// itself has no event.
func TestConfigMap(t *testing.T) {
	p := newPlace(t, "volume/mirrors.toml")
	swap := func(name, before string) {
		p.mkdir("volume/" + name)
		p.write("volume/"+name+"/mirrors.toml", name)
		p.link(name, "volume/..data_tmp")
		p.rename("volume/..data_tmp", "volume/..data")
		if before != "" {
			p.remove("volume/" + before)
		}
	}
	swap("..1", "")
	p.link("..data/mirrors.toml", "volume/mirrors.toml")
	for i, name := range []string{"..2", "..3", "..4"} {
		before := []string{"..1", "..2", "..3"}[i]
		p.hinted(name, func() { swap(name, before) })
	}
}

// TestDirectories replaces the directories that a map is in.
func TestDirectories(t *testing.T) {
	p := newPlace(t, "a/b/c/mirrors.toml")
	p.hinted("made at the top", func() { p.mkdir("a") })
	p.hinted("made below", func() { p.mkdir("a/b/c") })
	p.hinted("the file", func() { p.write("a/b/c/mirrors.toml", "1") })
	for _, dir := range []string{"a/b/c", "a/b", "a"} {
		p.hinted(dir+" removed", func() { p.remove(dir) })
		p.hinted(dir+" made again", func() {
			p.mkdir("a/b/c")
			p.write("a/b/c/mirrors.toml", "2")
		})
		p.hinted("the file in the new one", func() { p.write("a/b/c/mirrors.toml", "3") })
		p.hinted(dir+" renamed away", func() { p.rename(dir, "away") })
		p.hinted(dir+" made in its place", func() {
			p.mkdir("a/b/c")
			p.write("a/b/c/mirrors.toml", "4")
		})
		p.hinted("the file in that one", func() { p.write("a/b/c/mirrors.toml", "5") })
		p.hinted(dir+" replaced at once", func() {
			p.remove("away")
			p.rename(dir, "away2")
			p.mkdir("a/b/c")
			p.write("a/b/c/mirrors.toml", "6")
		})
		p.hinted("the file after that", func() { p.write("a/b/c/mirrors.toml", "7") })
		p.remove("away2")
	}
}

func TestNamespaces(t *testing.T) {
	p := newPlace(t, "certs.d/*", "certs.d/a.example/hosts.toml", "certs.d/b.example/hosts.toml")
	p.hinted("the tree", func() { p.mkdir("certs.d/a.example") })
	p.hinted("the file", func() { p.write("certs.d/a.example/hosts.toml", "1") })
	p.hinted("emptied", func() { p.must(os.Truncate(p.path("certs.d/a.example/hosts.toml"), 0)) })
	p.hinted("removed", func() { p.remove("certs.d/a.example/hosts.toml") })
	p.hinted("the directory replaced", func() {
		p.mkdir("new")
		p.write("new/hosts.toml", "2")
		p.rename("certs.d/a.example", "old")
		p.rename("new", "certs.d/a.example")
	})
	p.hinted("the file in the new one", func() { p.write("certs.d/a.example/hosts.toml", "3") })
	p.hinted("removed with its directory", func() { p.remove("certs.d/a.example") })
	p.hinted("an unwatched one", func() { p.mkdir("certs.d/c.example") })
	p.hinted("one that was missing", func() { p.mkdir("certs.d/b.example") })
	p.hinted("and its file", func() { p.write("certs.d/b.example/hosts.toml", "4") })
}

// TestImports checks that a new file that matches one of containerd's import
// patterns is noticed.
func TestImports(t *testing.T) {
	p := newPlace(t, "etc/config.toml", "etc/conf.d/*.toml")
	p.hinted("the directory", func() { p.mkdir("etc/conf.d") })
	p.hinted("a file", func() { p.write("etc/conf.d/a.toml", "1") })
	p.hinted("changed", func() { p.write("etc/conf.d/a.toml", "2") })
	p.hinted("removed", func() { p.remove("etc/conf.d/a.toml") })
}

// TestForgotten checks that a path that is no longer named is not watched.
func TestForgotten(t *testing.T) {
	p := newPlace(t, "a/file", "b/file")
	p.mkdir("a")
	p.mkdir("b")
	p.settle()
	p.paths = []string{"b/file"}
	p.settle()
	for _, dir := range p.events.watcher.WatchList() {
		if dir == p.path("a") {
			t.Errorf("%s is still watched", dir)
		}
	}
}

// TestRenamedAndRemoved replaces a directory as apply does, twice, before the events of it
// are read: the system has ended the watches by then, and no event is lost.
func TestRenamedAndRemoved(t *testing.T) {
	l := newLimited(t, "a/b/file")
	l.mkdir("a/b")
	l.settle()
	for range 2 {
		l.hinted("the directory replaced", func() {
			l.events.mu.Lock()
			defer l.events.mu.Unlock()
			l.write("a/b/file", "1") // an event that waits to be handled
			l.mkdir("new")
			l.write("new/file", "2")
			l.rename("a/b", "old")
			l.rename("new", "a/b")
			l.remove("old")
		})
		l.hinted("the file in the new one", func() { l.write("a/b/file", "3") })
	}
	l.wantWatching("", 0, 0, 0)
	if l.started != 1 {
		t.Errorf("started %d watchers; want one", l.started)
	}
}
