package watch

import (
	"runtime/debug"
	"time"
)

// restAfter is how long after a pass the watcher is at rest. To give memory back and to
// get it again takes longer than many a pass, so it is not done between passes that follow
// each other.
const restAfter = time.Second

// A Rest gives memory back when the watcher is at rest.
type Rest struct {
	timer *time.Timer
}

// NewRest returns a Rest that has not begun.
func NewRest() *Rest {
	r := &Rest{}
	r.timer = time.AfterFunc(time.Hour, r.giveBack)
	r.timer.Stop()
	return r
}

// Begin is called after each pass. If no other follows soon, what it allocated is garbage.
func (r *Rest) Begin() { r.timer.Reset(restAfter) }

// Stop ends the rest.
func (r *Rest) Stop() { r.timer.Stop() }

func (r *Rest) giveBack() { debug.FreeOSMemory() }
