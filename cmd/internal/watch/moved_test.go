package watch

import (
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
)

// A gate holds back the events of a watcher, as they come late on a busy machine.
type gate struct{ pass chan int }

// gated has the events of a place come by a gate, which is open at first.
func gated(p *place) *gate {
	g := &gate{make(chan int)}
	p.events.start = func() (*fsnotify.Watcher, error) {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return nil, err
		}
		from, to := w.Events, make(chan fsnotify.Event)
		w.Events = to
		go func() {
			defer close(to)
			left := -1 // no limit
			for {
				in := from
				if left == 0 {
					in = nil
				}
				select {
				case left = <-g.pass:
				case event, ok := <-in:
					if !ok {
						return
					}
					to <- event
					left = max(left-1, -1)
				}
			}
		}()
		return w, nil
	}
	return g
}

func (g *gate) shut()     { g.pass <- 0 }
func (g *gate) let(n int) { g.pass <- n; time.Sleep(20 * time.Millisecond) }
func (g *gate) open()     { g.pass <- -1 }

func (p *place) watchOnce() {
	var paths []string
	for _, name := range p.paths {
		paths = append(paths, p.path(name))
	}
	p.events.Watch(paths)
}

// unreported returns which of dirs are covered, and yet a change of a file in them is not
// reported.
func (p *place) unreported(dirs ...string) (list []string) {
	p.Helper()
	p.settle()
	time.Sleep(50 * time.Millisecond)
	p.settle()
	p.events.Take()
	var covered []string
	for _, dir := range dirs {
		if p.events.Covers(p.path(dir)) {
			covered = append(covered, dir)
			p.write(dir+"/file", "changed")
		}
	}
	time.Sleep(300 * time.Millisecond)
	paths, all := p.events.Take()
	seen := map[string]bool{}
	for _, path := range paths {
		seen[path] = true
	}
	for _, dir := range covered {
		if all && !seen[p.path(dir+"/file")] && !seen[p.path(dir)] {
			list = append(list, dir)
		}
	}
	return list
}

// renamed moves r2 away and gives r1 its name, with the gate shut.
func renamed(t *testing.T) (*place, *gate) {
	p := newPlace(t, "d/*", "d/r1/file", "d/r2/file")
	g := gated(p)
	p.mkdir("d/r1")
	p.mkdir("d/r2")
	p.watchAgain()
	g.shut()
	p.rename("d/r2", "gone")
	p.rename("d/r1", "d/r2")
	return p, g
}

// shifted is renamed, and then a search when only the first event of that was read.
func shifted(t *testing.T) *place {
	p, g := renamed(t)
	g.let(1)
	p.watchOnce()
	g.open()
	return p
}

// TestDirectoryRenamedOverAnother has a directory take the name of another one before all events of that are
// read. While it counts as covered, its changes are reported.
func TestDirectoryRenamedOverAnother(t *testing.T) {
	p := shifted(t)
	if list := p.unreported("d/r2"); len(list) > 0 {
		t.Errorf("covered, but not reported: %q", list)
	}
	p.events.searched = time.Time{} // as after a tick
	if list := p.unreported("d/r2"); len(list) > 0 {
		t.Errorf("after a tick too: %q", list)
	}
}

// TestRenamedDirectoryUnwatched no longer watches such a directory.
func TestRenamedDirectoryUnwatched(t *testing.T) {
	p := shifted(t)
	p.settle()
	p.paths = []string{"d/*", "d/r1/file"}
	p.settle() // does not panic
}

// TestExchanged has two directories change places, with some of the events read.
func TestExchanged(t *testing.T) {
	for let := range 4 {
		for _, old := range []bool{false, true} {
			p, g := renamed(t)
			p.rename("gone", "d/r1")
			if let > 0 {
				g.let(let)
			}
			if old {
				p.events.searched = time.Time{}
			}
			p.watchOnce()
			g.open()
			if list := p.unreported("d/r1", "d/r2"); len(list) > 0 {
				t.Errorf("%d events, %v: covered, but not reported: %q", let, old, list)
			}
		}
	}
}
