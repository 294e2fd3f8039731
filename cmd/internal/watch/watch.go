// Package watch keeps a node in step with its map for as long as it runs. It
// knows when to look, and refuses to know what to do: that is package
// node, which it calls whenever something may have changed.
//
// What is noticed (file events, a signal, a tick) is only ever a hint. The disk
// decides. Start at [Watcher.Run].
package watch

import (
	"context"
	"log/slog"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// An Applier brings a node to its map, and says how far it got.
type Applier interface {
	// ApplyUnless applies the map but for the removed sources that hold says
	// yes to, unless veto says no to the plan, which is then returned all
	// the same.
	ApplyUnless(ctx context.Context, hold func(source string) bool, veto func(node.Plan) bool) (node.Plan, error)
}

// Options say when to look. Zero fields mean the defaults, which are stated on
// them.
type Options struct {
	// Quiet is how long no event may come before a change is looked at, so
	// that a file that is written in pieces is read once; 20 ms.
	Quiet time.Duration
	// Ceiling is how long events that do not end can put that off; 500 ms.
	Ceiling time.Duration
	// Tick is how often to look without an event; 30 s.
	Tick time.Duration
	// Recheck is how often to look while something waits for the kubelet;
	// 1 s.
	Recheck time.Duration
	// Still is how long the map must not have changed before a source is
	// removed: a map that was cut short may parse; 2 s.
	Still time.Duration
	// Missing is how long a source must have been missing in each map that
	// was read for it to be removed from one that is never still. No map
	// takes as long to be written; 1 min.
	Missing time.Duration
	// Patience is how long another mirrorcred may be at work on the node
	// before that is a fault; 15 s.
	Patience time.Duration
	// MapTime returns when the map was last written.
	MapTime func() time.Time

	Log *slog.Logger
	// Done is called after each look.
	Done func(Report)
}

// A Report is the outcome of one look at the node.
type Report struct {
	Plan node.Plan
	// Err is why the node is not as the map says, nil where it is or where
	// the plan says what it waits for.
	Err error
	// Fights says that somebody else keeps changing what we write.
	Fights bool
	// Began is when the look began, and Took how long it lasted.
	Began time.Time
	Took  time.Duration
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
	set(&o.Patience, 15*time.Second)
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
	fight   fight
	held    held
	// mapTime is what MapTime returned last, and mapSeen when it was new.
	mapTime, mapSeen time.Time
}

// New returns a watcher of a node. hints are looked at when they come; a
// channel with room for one is enough.
func New(n Applier, hints <-chan struct{}, o Options) *Watcher {
	return &Watcher{node: n, hints: hints, o: o.withDefaults(), journal: journal{log: o.Log}}
}

// Run looks at the node at once and then whenever there is a reason to, until
// ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for {
		report, next := w.look(ctx)
		if ctx.Err() != nil {
			return
		}
		w.journal.write(report, w.fight.paths())
		w.o.Done(report)
		if !w.wait(ctx, next) {
			return
		}
	}
}

// look applies the map once and says when to look again without a hint.
func (w *Watcher) look(ctx context.Context) (r Report, next time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, w.o.Patience)
	defer cancel()
	next = w.o.Tick
	r.Began = time.Now()
	planned := false
	hold := func(source string) bool {
		now := time.Now()
		left := w.held.left(source, now, w.o.Still-w.mapAge(now), w.o.Missing)
		if left > 0 {
			next = min(next, left)
		}
		return left > 0
	}
	veto := func(plan node.Plan) bool {
		now := time.Now()
		planned = true
		w.mapAge(now) // another map is no part of a fight
		if pause := w.fight.pause(plan, now); pause > 0 {
			r.Fights, next = true, min(next, pause)
		}
		return r.Fights
	}
	r.Plan, r.Err = w.node.ApplyUnless(ctx, hold, veto)
	r.Took = time.Since(r.Began)
	switch {
	case r.Err != nil:
		w.fight.reset() // nobody undid what was not done
	case !r.Fights && (len(r.Plan.Pending) > 0 || len(r.Plan.Draining) > 0):
		// A node with many mirrors is not to be busy with looking.
		next = min(next, max(w.o.Recheck, 20*r.Took))
	}
	w.held.looked(planned)
	return r, next
}

// mapAge returns for how long the map has not changed. The clock may have been
// set, or the time of the file: what was seen changing counts from then on.
func (w *Watcher) mapAge(now time.Time) time.Duration {
	if t := w.o.MapTime(); w.mapSeen.IsZero() || !t.Equal(w.mapTime) {
		w.mapTime, w.mapSeen = t, now
		w.fight.reset()
	}
	return max(now.Sub(w.mapTime), now.Sub(w.mapSeen))
}

// wait returns true when it is time to look again, and false when ctx ended.
// After a hint it waits until there was none for a while.
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
