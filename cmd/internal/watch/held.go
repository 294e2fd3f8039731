package watch

import "time"

// A held keeps since when each removed source has been missing in every map
// that was read.
type held struct {
	since map[string]time.Time
	asked map[string]time.Time // of those, what the look under way asked for
}

// left returns for how long a removal is held: until the map is still, for
// which it needs still, or the source has been missing for long enough. Where
// that is not positive, it is to be removed.
func (h *held) left(source string, now time.Time, still, missing time.Duration) time.Duration {
	since, ok := h.since[source]
	if !ok {
		since = now
	}
	if h.asked == nil {
		h.asked = map[string]time.Time{}
	}
	h.asked[source] = since
	return min(still, since.Add(missing).Sub(now))
}

// looked ends a look, and forgets the sources that were not missing in it. Where
// there was no plan, the map has a fault and does not say what is missing.
func (h *held) looked(planned bool) {
	if planned {
		h.since = h.asked
	}
	h.asked = nil
}
