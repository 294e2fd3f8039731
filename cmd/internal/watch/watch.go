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
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// An Applier brings a node to its map, and says how far it got.
type Applier interface {
	// ApplyUnless applies the map unless veto says no to the plan, which is
	// then returned all the same.
	ApplyUnless(ctx context.Context, veto func(node.Plan) bool) (node.Plan, error)
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
	// Still is how long the map must not have changed before sources are
	// removed: a map that was cut short may parse; 2 s.
	Still time.Duration
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
	// Held says that sources are to be removed and the map has not been
	// still for long enough.
	Held bool
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
	node  Applier
	hints <-chan struct{}
	o     Options
	last  Report // for saying only what is new
	fight fight
}

// New returns a watcher of a node. hints are looked at when they come; a
// channel with room for one is enough.
func New(n Applier, hints <-chan struct{}, o Options) *Watcher {
	return &Watcher{node: n, hints: hints, o: o.withDefaults()}
}

// Run looks at the node at once and then whenever there is a reason to, until
// ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	for {
		report, next := w.look(ctx)
		if ctx.Err() != nil {
			return
		}
		w.say(report)
		w.last = report
		w.o.Done(report)
		if !w.wait(ctx, next) {
			return
		}
	}
}

// look applies the map once and says when to look again without a hint.
func (w *Watcher) look(ctx context.Context) (Report, time.Duration) {
	r := Report{Began: time.Now()}
	var wait time.Duration
	r.Plan, r.Err = w.node.ApplyUnless(ctx, func(plan node.Plan) bool {
		if plan.Removes() {
			if wait = w.o.Still - time.Since(w.o.MapTime()); wait > 0 {
				r.Held = true
				return true
			}
		}
		wait = w.fight.pause(plan, r.Began)
		r.Fights = wait > 0
		return r.Fights
	})
	r.Took = time.Since(r.Began)
	if r.Held || r.Fights {
		return r, wait
	}
	return r, w.next(r.Plan)
}

func (w *Watcher) next(plan node.Plan) time.Duration {
	if len(plan.Pending) > 0 || len(plan.Draining) > 0 {
		return w.o.Recheck
	}
	return w.o.Tick
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

// say logs what an operator asks for next morning, once.
func (w *Watcher) say(r Report) {
	log := w.o.Log
	if r.Err != nil && (w.last.Err == nil || w.last.Err.Error() != r.Err.Error()) {
		log.Error("map not applied", "error", r.Err)
	}
	if r.Err == nil && w.last.Err != nil {
		log.Info("map is applied again")
	}
	if r.Fights && !w.last.Fights {
		log.Warn("somebody else keeps changing the files that mirrorcred writes; slowing down", "files", w.fight.paths())
	}
	if r.Held || r.Fights || r.Err != nil {
		return
	}
	for _, c := range r.Plan.Changes {
		log.Info("changed", "path", c.Path, "stage", c.Stage)
	}
	w.sayNew("pending", r.Plan.Pending, w.last.Plan.Pending)
	w.sayNew("draining", r.Plan.Draining, w.last.Plan.Draining)
	for _, left := range r.Plan.Left {
		if !slices.Contains(w.last.Plan.Left, left) {
			log.Warn("left alone", "path", left.Path, "reason", left.Reason)
		}
	}
}

// sayNew logs the sources that were not in the list before.
func (w *Watcher) sayNew(what string, now, before []node.Wait) {
	for _, wait := range now {
		known := slices.ContainsFunc(before, func(b node.Wait) bool { return b.Source == wait.Source })
		if !known {
			w.o.Log.Info(what, "source", wait.Source, "reason", wait.Reason)
		}
	}
}
