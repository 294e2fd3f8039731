package watch

import (
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A fight notices that somebody else keeps changing back what we write. Nobody
// wins one by being faster, and each round is a moment in which pulls fail.
type fight struct {
	writes map[write][]time.Time // when each was made lately
	over   map[write]bool        // those that were changed back too often
	until  time.Time             // they are not made before; zero where no pause is on
	length time.Duration         // of the last pause
	tried  time.Time             // after it
}

// A write is bytes that were put at a path.
type write struct{ path, data string }

const (
	// More than rounds of one write within roundTime are a fight.
	rounds    = 5
	roundTime = time.Minute
	// It is left alone for a while that doubles up to maxPause, with one try
	// after each. When that lasts for roundTime, the fight is over.
	firstPause = 10 * time.Second
	maxPause   = 5 * time.Minute
)

// pause returns how long to leave the plan alone, 0 where it may be carried
// out. A plan with more in it than what is fought over may be.
func (f *fight) pause(plan node.Plan, now time.Time) time.Duration {
	f.forget(now)
	writes := writesOf(plan)
	if len(writes) == 0 {
		return 0
	}
	fought := func(w write) bool { return f.over[w] || len(f.writes[w]) >= rounds }
	if !slices.ContainsFunc(writes, func(w write) bool { return !fought(w) }) {
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

func (f *fight) begin(writes []write, now time.Time) {
	for _, w := range writes {
		f.over[w] = true
	}
	f.length = min(max(2*f.length, firstPause), maxPause)
	f.until = now.Add(f.length)
}

// writesOf returns what a plan changes, a removal as a write of nothing.
func writesOf(plan node.Plan) []write {
	list := make([]write, len(plan.Changes))
	for i, c := range plan.Changes {
		list[i] = write{c.Path, string(c.New)}
	}
	return list
}

// forget drops what was written long ago, and a fight that nobody goes on with.
func (f *fight) forget(now time.Time) {
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

// reset forgets everything: with another map, a write that was made before is
// no answer to anybody.
func (f *fight) reset() {
	*f = fight{writes: map[write][]time.Time{}, over: map[write]bool{}}
}

// paths returns the paths that are fought over.
func (f *fight) paths() []string {
	var list []string
	for w := range f.over {
		list = append(list, w.path)
	}
	slices.Sort(list)
	return slices.Compact(list)
}
