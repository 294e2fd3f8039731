package watch

import "time"

// removals record since when each source has been missing from every map that was
// read, itself or its credential.
type removals struct {
	since map[string]time.Time
	asked map[string]time.Time // those that the current pass asked for
}

// remaining returns how much longer a removal is held: still until the map is
// stable, or less if the source will have been missing for long enough before
// that. If it is not positive, the source can be removed.
func (h *removals) remaining(source string, now time.Time, still, missing time.Duration) time.Duration {
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

// done ends a pass, and forgets the sources that were not missing in it.
// Without a plan the map has a fault and does not say what is missing.
func (h *removals) done(planned bool) {
	if planned {
		h.since = h.asked
	}
	h.asked = nil
}
