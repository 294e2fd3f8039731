package watch

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// restAfter is how long after a pass the watcher is at rest. To give memory back and to
// get it again takes longer than many a pass, so it is not done between passes that follow
// each other.
const restAfter = time.Second

// settledAfter is how many passes in a row must have found nothing to do before the start
// counts as over. A node that starts has other things to read from its disk.
const settledAfter = 4

// A Rest gives memory back when the watcher is at rest.
type Rest struct {
	timer *time.Timer
	idle  atomic.Int32 // passes in a row that found nothing to do

	mu sync.Mutex // held while memory is given back, which may take longer than restAfter
	// next are what is still to be done once the start is over, one at each rest.
	next []func()
}

// NewRest returns a Rest that has not begun.
func NewRest() *Rest {
	r := &Rest{next: []func(){giveBackProgram, readProgramAhead}}
	r.timer = time.AfterFunc(time.Hour, r.giveBack)
	r.timer.Stop()
	return r
}

// Begin is called after each pass, with whether it found nothing to do. If no other pass
// follows soon, what it allocated is garbage.
func (r *Rest) Begin(isIdle bool) {
	if isIdle {
		r.idle.Add(1)
	} else {
		r.idle.Store(0)
	}
	r.timer.Reset(restAfter)
}

// Stop ends the rest.
func (r *Rest) Stop() { r.timer.Stop() }

func (r *Rest) giveBack() {
	if !r.mu.TryLock() {
		return // the timer fired again meanwhile
	}
	defer r.mu.Unlock()
	debug.FreeOSMemory()
	if len(r.next) > 0 && r.idle.Load() >= settledAfter {
		r.next[0]()
		r.next = r.next[1:]
	}
}
