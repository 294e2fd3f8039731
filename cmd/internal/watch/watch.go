// Package watch keeps a node in sync with its map for as long as it runs. It
// knows when to reconcile. Package node knows what to do; watch calls it
// whenever something may have changed.
//
// File events, a signal and a tick are only hints. The disk decides. Start at
// [Watcher.Run].
package watch

import (
	"context"
	"log/slog"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// An Applier makes a node match its map, and returns how far it got.
type Applier interface {
	// ApplyUnless applies the map, except for the removed sources for which hold
	// returns true. If veto returns true, the plan is returned but not carried
	// out.
	ApplyUnless(ctx context.Context, hold func(source string) bool, veto func(plan.Plan) bool) (plan.Plan, error)
}

// Options say when to reconcile. A zero field means its default.
type Options struct {
	// Quiet is how long no event must come before a pass, so that a file that is
	// written in pieces is read once; 0 means 20 ms.
	Quiet time.Duration
	// Ceiling is how long a stream of events can delay that; 0 means 500 ms.
	Ceiling time.Duration
	// Tick is how often to reconcile without an event; 0 means 30 s.
	Tick time.Duration
	// Recheck is how often to reconcile while something waits for the kubelet; 0
	// means 1 s.
	Recheck time.Duration
	// Still is how long the map must not have changed before a source is
	// removed or loses a credential, since half a map may parse; 0 means 2 s.
	Still time.Duration
	// Missing is how long a source must have been missing from each map that was
	// read, if the map keeps changing. Writing a map never takes that long; 0 means
	// 1 min.
	Missing time.Duration
	// MapTime returns when the map was last written.
	MapTime func() time.Time

	Log *slog.Logger
	// Done is called after each pass.
	Done func(Report)
}

// A Report is the outcome of one pass.
type Report struct {
	Plan plan.Plan
	// Source is the map that was read; the caller sets it.
	Source node.Source
	// Err is why the node does not match the map, nil if it does or the plan says
	// what it waits for.
	Err error
	// BackingOff says that another program keeps reverting mirrorcred's files.
	BackingOff bool
	// MapTime is when the map's file was last written, as in Options.
	MapTime time.Time
	// Began is when the pass began, and Took how long it took.
	Began time.Time
	Took  time.Duration
}

// inSync reports whether the node matches its map.
func (r Report) inSync() bool {
	p := r.Plan
	return r.Err == nil && !r.BackingOff && p.Loss == "" && len(p.Faults)+len(p.Pending)+len(p.Draining)+len(p.Held)+len(p.Conflicts) == 0
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, to time.Duration) {
		if *d == 0 {
			*d = to
		}
	}
	set(&o.Quiet, 20*time.Millisecond)
	set(&o.Ceiling, 500*time.Millisecond)
	set(&o.Tick, 30*time.Second)
	set(&o.Recheck, time.Second)
	set(&o.Still, 2*time.Second)
	set(&o.Missing, time.Minute)
	if o.MapTime == nil {
		o.MapTime = func() time.Time { return time.Time{} }
	}
	if o.Done == nil {
		o.Done = func(Report) {}
	}
	return o
}

// A Watcher applies the map again and again. Its methods are for one goroutine.
type Watcher struct {
	node    Applier
	hints   <-chan struct{}
	o       Options
	journal journal
	backoff backoff
	held    removals
	// mapTime is what MapTime last returned, and mapSeen when that was new.
	mapTime, mapSeen time.Time
}

// New returns a watcher of a node. Each hint leads to a pass; a channel with
// room for one is enough.
func New(n Applier, hints <-chan struct{}, o Options) *Watcher {
	return &Watcher{node: n, hints: hints, o: o.withDefaults(), journal: newJournal(o.Log)}
}

// Run reconciles the node at once and then whenever there is a reason to, until
// ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for {
		report, next := w.reconcile(ctx)
		if ctx.Err() != nil {
			w.journal.interrupted(report)
			return
		}
		w.journal.write(report, w.backoff.paths())
		w.o.Done(report)
		if !w.wait(ctx, next) {
			return
		}
	}
}

// reconcile applies the map once and returns when to do so again without a
// hint.
func (w *Watcher) reconcile(ctx context.Context) (r Report, next time.Duration) {
	next = w.o.Tick
	r.Began = time.Now()
	planned := false
	hold := func(source string) bool {
		now := time.Now()
		left := w.held.remaining(source, now, w.o.Still-w.mapAge(now), w.o.Missing)
		if left > 0 {
			next = min(next, left)
		}
		return left > 0
	}
	veto := func(todo plan.Plan) bool {
		now := time.Now()
		planned = true
		w.mapAge(now) // resets the backoff for a new map
		if pause := w.backoff.pause(todo, now); pause > 0 {
			r.BackingOff, next = true, min(next, pause)
		}
		return r.BackingOff
	}
	r.Plan, r.Err = w.node.ApplyUnless(ctx, hold, veto)
	r.Took, r.MapTime = time.Since(r.Began), w.o.MapTime()
	switch {
	case r.Err != nil:
		w.backoff.reset() // what was not written was not reverted
	case !r.BackingOff && (len(r.Plan.Pending) > 0 || len(r.Plan.Draining) > 0):
		// A node with many mirrors must not be kept busy.
		next = min(next, max(w.o.Recheck, 20*r.Took))
	}
	if ends := r.Plan.Ends; !ends.IsZero() {
		next = min(next, max(0, time.Until(ends)))
	}
	w.held.done(planned)
	return r, next
}

// mapAge returns how long the map has not changed. The clock or the file's time
// may have been set, so a change counts from when it was seen.
func (w *Watcher) mapAge(now time.Time) time.Duration {
	if t := w.o.MapTime(); w.mapSeen.IsZero() || !t.Equal(w.mapTime) {
		w.mapTime, w.mapSeen = t, now
		w.backoff.reset()
	}
	return max(now.Sub(w.mapTime), now.Sub(w.mapSeen))
}

// wait returns true when it is time to reconcile again, and false when ctx
// ended. After a hint it waits until no more come for a while.
func (w *Watcher) wait(ctx context.Context, next time.Duration) bool {
	timer := time.NewTimer(next)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-w.hints:
	}
	ceiling := time.NewTimer(w.o.Ceiling)
	defer ceiling.Stop()
	for {
		timer.Reset(w.o.Quiet)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-ceiling.C:
			return true
		case <-w.hints:
		}
	}
}
