package deliver

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	// leastRenew is how long a credential is kept whose source would be asked again at
	// once: a plugin's answer costs the kubelet a run, but here a registry is asked too.
	leastRenew = time.Minute
	// The pause after a failure doubles from the first to the last. A registry may ask
	// for up to mostRetryAfter.
	firstPause, lastPause = 5 * time.Second, 5 * time.Minute
	mostRetryAfter        = time.Hour
)

// A schedule knows when to deliver what. Times are those of the wall clock, since an
// end is one and a reboot may come in between.
type schedule struct {
	seed    uint64 // another one on each node, so that nodes do not ask together
	entries []*entry
	// running are the keys of the deliveries that have begun. One that is not wanted any
	// more runs on for a moment, and may be wanted again by then.
	running map[string]bool
	isKnown bool // what is wanted; before the first map nothing is
}

// An entry is one wanted credential.
type entry struct {
	want     Want
	due      time.Time
	again    bool // its files may have changed while it ran
	failures int
	// value and fault are what the store had when it was last looked at, zero for
	// nothing.
	value handover.Value
	fault string
}

// observe reads what the store has for an entry.
func (e *entry) observe(store handover.Store) {
	e.value, _ = store.Value(e.want.Key) // zero without one
	f, err := store.Fault(e.want.Key)
	switch {
	case err == nil:
		e.fault = f.Reason
	case errors.Is(err, fs.ErrNotExist):
		e.fault = ""
	default:
		e.fault = oneLine(err)
	}
}

func newSchedule(seed uint64) *schedule {
	return &schedule{seed: seed, running: map[string]bool{}}
}

// want replaces what is wanted. An entry that is still wanted keeps its time, unless
// the files of its credential changed.
func (s *schedule) want(list []Want, value func(key string) (handover.Value, error), now time.Time) {
	entries := make([]*entry, len(list))
	for i, w := range list {
		e := s.find(w.Key)
		switch {
		case e == nil:
			e = &entry{want: w, due: now, again: s.running[w.Key]}
			if v, err := value(w.Key); err == nil {
				e.due = s.resume(w, v, now)
			}
		case e.want.Stamp != w.Stamp:
			e.due, e.failures, e.again = now, 0, s.running[w.Key]
		}
		e.want = w
		entries[i] = e
	}
	s.entries = entries
}

func (s *schedule) find(key string) *entry {
	i := slices.IndexFunc(s.entries, func(e *entry) bool { return e.want.Key == key })
	if i < 0 {
		return nil
	}
	return s.entries[i]
}

func (s *schedule) wants(key string) bool { return s.find(key) != nil }

// begin returns what is due, and takes it to be running.
func (s *schedule) begin(now time.Time) []Want {
	var list []Want
	for _, e := range s.entries {
		if !s.running[e.want.Key] && !now.Before(e.due) {
			s.running[e.want.Key] = true
			list = append(list, e.want)
		}
	}
	return list
}

// end records the outcome of a delivery.
func (s *schedule) end(r Result, now time.Time) {
	delete(s.running, r.Want.Key)
	e := s.find(r.Want.Key)
	if e == nil {
		return // no longer wanted
	}
	switch {
	case e.again:
		e.again, e.due = false, now
	case r.Err != nil:
		e.due = now.Add(s.pause(e, r.Err))
		e.failures++
	default:
		e.failures = 0
		e.due = later(s.renewal(e.want, r.Value), now.Add(firstPause))
	}
}

// next returns how long nothing is due.
func (s *schedule) next(now time.Time) time.Duration {
	next := recheck
	for _, e := range s.entries {
		if !s.running[e.want.Key] {
			next = min(next, e.due.Sub(now))
		}
	}
	return max(0, next)
}

// resume returns when to renew a value that an earlier process handed over. A value
// from the future was written before the clock was set, and a file that is younger than
// its value has another credential.
func (s *schedule) resume(w Want, v handover.Value, now time.Time) time.Time {
	if v.From.After(now) || w.Written.After(v.From.Add(time.Second)) || v.Ended(now) {
		return now
	}
	return s.renewal(w, v)
}

// renewal returns when to renew a value: in the middle of its life, less a fifth of that
// at most.
func (s *schedule) renewal(w Want, v handover.Value) time.Time {
	half := mirror.DeliveryRenewal
	switch {
	case !v.Renew.IsZero():
		half = max(v.Renew.Sub(v.From), leastRenew)
	case !v.Until.IsZero():
		half = v.Until.Sub(v.From) / 2
	}
	half = max(half, firstPause)
	return v.From.Add(half - time.Duration(s.share(w)*float64(half)/5))
}

// share returns a number from 0 to 1 that is the same for all values of one registry
// and identity, so that these are renewed by one fetch.
func (s *schedule) share(w Want) float64 {
	h := fnv.New64a()
	h.Write([]byte(w.Group))
	return rand.New(rand.NewPCG(s.seed, h.Sum64())).Float64()
}

// pause returns how long to wait after a failure.
func (s *schedule) pause(e *entry, err error) time.Duration {
	pause := min(firstPause<<min(e.failures, 10), lastPause)
	pause -= time.Duration(s.share(e.want) * float64(pause) / 5)
	var busy interface {
		error
		RetryAfter() time.Duration
	}
	if errors.As(err, &busy) {
		pause = max(pause, min(busy.RetryAfter(), mostRetryAfter))
	}
	return max(pause, firstPause)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// oneLine returns an error on one line.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }), " ")
}
