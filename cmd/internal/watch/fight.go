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
	until  time.Time             // nothing is written before; zero where no pause is on
	length time.Duration         // of the last pause
}

// A write is bytes that were put at a path.
type write struct{ path, data string }

const (
	// More than rounds of one write within roundTime are a fight.
	rounds    = 5
	roundTime = time.Minute
	// It is left alone for a while that doubles up to maxPause.
	firstPause = 10 * time.Second
	maxPause   = 5 * time.Minute
)

// pause returns how long to leave the plan alone, 0 where it may be carried
// out.
func (f *fight) pause(plan node.Plan, now time.Time) time.Duration {
	if left := f.until.Sub(now); left > 0 {
		return left
	}
	paused := !f.until.IsZero()
	f.until = time.Time{}
	f.forget(now)
	fought := false
	for _, c := range plan.Changes {
		if c.Stage == node.StageHosts || c.Stage == node.StageKubelet {
			w := write{c.Path, string(c.New)}
			f.writes[w] = append(f.writes[w], now)
			fought = fought || len(f.writes[w]) > rounds
		}
	}
	if !fought || paused { // one try after each pause
		return 0
	}
	f.length = min(max(2*f.length, firstPause), maxPause)
	f.until = now.Add(f.length)
	return f.length
}

// forget drops what was written long ago, and when that is all, the fight.
func (f *fight) forget(now time.Time) {
	if f.writes == nil {
		f.writes = map[write][]time.Time{}
	}
	for w, times := range f.writes {
		times = slices.DeleteFunc(times, func(t time.Time) bool { return now.Sub(t) > roundTime+f.length })
		if f.writes[w] = times; len(times) == 0 {
			delete(f.writes, w)
		}
	}
	if len(f.writes) == 0 {
		f.length = 0
	}
}

// paths returns the paths that are written again and again.
func (f *fight) paths() []string {
	var list []string
	for w, times := range f.writes {
		if len(times) > rounds {
			list = append(list, w.path)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
