package watch

import (
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A backoff notices that another program keeps reverting what mirrorcred
// writes. Neither wins by being faster, and pulls fail in between.
type backoff struct {
	writes map[write][]time.Time // when each was made lately
	over   map[write]bool        // those that were reverted too often
	until  time.Time             // they are not made again before this; zero if there is no pause
	length time.Duration         // of the last pause
	tried  time.Time             // after it
}

// A write is bytes that were put at a path.
type write struct{ path, data string }

const (
	// More than this many rounds of one write within roundTime start a backoff.
	rounds    = 5
	roundTime = time.Minute
	// The pause doubles up to maxPause, with one try after each. If a write
	// survives for roundTime, the backoff is over.
	firstPause = 10 * time.Second
	maxPause   = 5 * time.Minute
)

// pause returns how long to wait with the plan, 0 if it may be carried out: a
// plan that has other changes as well may be.
func (f *backoff) pause(todo plan.Plan, now time.Time) time.Duration {
	f.forget(now)
	writes := writesOf(todo)
	if len(writes) == 0 {
		return 0
	}
	isReverted := func(w write) bool { return f.over[w] || len(f.writes[w]) >= rounds }
	if !slices.ContainsFunc(writes, func(w write) bool { return !isReverted(w) }) {
		switch {
		case f.until.IsZero():
			f.begin(writes, now)
			return f.length
		case now.Before(f.until):
			return f.until.Sub(now)
		}
		f.until, f.tried = time.Time{}, now
	}
	for _, w := range writes {
		f.writes[w] = append(f.writes[w], now)
	}
	return 0
}

func (f *backoff) begin(writes []write, now time.Time) {
	for _, w := range writes {
		f.over[w] = true
	}
	f.length = min(max(2*f.length, firstPause), maxPause)
	f.until = now.Add(f.length)
}

// writesOf returns what a plan changes, a removal as a write of nothing.
func writesOf(todo plan.Plan) []write {
	list := make([]write, len(todo.Changes))
	for i, c := range todo.Changes {
		list[i] = write{c.Path, string(c.New)}
	}
	return list
}

// forget drops what was written long ago, and a backoff that is over.
func (f *backoff) forget(now time.Time) {
	if f.writes == nil {
		f.reset()
	}
	for w, times := range f.writes {
		times = slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) > roundTime })
		if f.writes[w] = times; len(times) == 0 {
			delete(f.writes, w)
		}
	}
	if f.length > 0 && f.until.IsZero() && now.Sub(f.tried) > roundTime {
		f.reset()
	}
}

// reset forgets everything: with another map, an earlier write was not
// reverted.
func (f *backoff) reset() {
	*f = backoff{writes: map[write][]time.Time{}, over: map[write]bool{}}
}

// paths returns the paths that are being reverted.
func (f *backoff) paths() []string {
	var list []string
	for w := range f.over {
		list = append(list, w.path)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
