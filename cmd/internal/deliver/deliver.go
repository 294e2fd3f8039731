// Package deliver keeps the credentials that are in hosts.toml fresh: it fetches
// each, proves it at its registry, hands it over to the process that writes hosts.toml,
// and renews it before it expires.
//
// It knows when to ask, and whom. Package sources knows how a credential is got, package
// prove what a registry makes of it, and package handover the files. Start at
// [Deliverer.Run].
package deliver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/credential"
)

// A Fetched is a credential from its source.
type Fetched struct {
	// Authorization is the header's value.
	Authorization credential.Secret
	// Until is when the credential expires, zero if it does not say so.
	Until time.Time
	// Renew is when to fetch it again, zero for the middle of its life.
	Renew time.Time
	// Issued is when the credential was issued, zero if it does not say so.
	Issued time.Time
}

// A Deliverer keeps the values of a store.
type Deliverer struct {
	Store handover.Store
	// Fetch gets a credential from its source. Its error has no secret.
	Fetch func(context.Context, Want) (Fetched, error)
	// Prove asks the registry whether it accepts a header. Its error has no secret.
	Prove func(context.Context, Want, credential.Secret) (prove.Proof, error)
	// Changed is called after each delivery, and when what is wanted has changed; nil
	// for nothing.
	Changed func(Summary)
	Log     *slog.Logger

	episodes map[string]*episodes // of what is wanted, by its key
}

// episodes are the faults of one credential.
type episodes struct{ failing, unproved episode.Episode }

const (
	// limit is how long one delivery may take.
	limit = time.Minute
	// mostAtOnce is how many deliveries run at a time.
	mostAtOnce = 8
	// recheck is how often the wall clock is looked at: it may be set.
	recheck = time.Minute
)

// A Result is the outcome of one delivery.
type Result struct {
	Want  Want
	Value handover.Value // the one in force; zero without one
	Err   error          // why there is no newer one, nil if there is
	// proved says that the registry accepts the header and refuses requests without
	// it.
	proved bool
	first  bool
}

// Run keeps the wanted credentials fresh until ctx ends. Each list on the channel
// replaces the one before; nothing is done before the first.
func (d *Deliverer) Run(ctx context.Context, wants <-chan []Want) {
	d.clean()
	s := newSchedule(rand.Uint64())
	results := make(chan Result)
	slots := make(chan struct{}, mostAtOnce)
	var wait sync.WaitGroup
	// What still ran when the map changed may have handed over what nothing wants now.
	defer func() { wait.Wait(); d.sweep(s) }()
	for {
		now := time.Now()
		for _, w := range s.begin(now) {
			wait.Go(func() { d.inTurn(ctx, w, slots, results) })
		}
		d.report(s)
		timer := time.NewTimer(s.next(now))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case list := <-wants:
			d.want(s, list)
		case r := <-results:
			s.end(r, time.Now())
			if e := s.find(r.Want.Key); e != nil {
				e.observe(d.Store)
			} else {
				d.sweep(s)
			}
			d.log(r)
		case <-timer.C:
			d.lookAtAll(s) // "apply" may have asked too
		}
		timer.Stop()
	}
}

// clean removes what a killed process was writing, before anything is written: it may be
// a credential that nothing wants any more.
func (d *Deliverer) clean() {
	if err := d.Store.Clean(); err != nil {
		d.Log.Error("leftovers not removed", "error", err)
	}
}

// inTurn delivers once a slot is free.
func (d *Deliverer) inTurn(ctx context.Context, w Want, slots chan struct{}, results chan<- Result) {
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
		return
	}
	r := d.deliver(ctx, w)
	select {
	case results <- r:
	case <-ctx.Done():
	}
}

// want changes what is wanted, and removes the values that no longer are.
func (d *Deliverer) want(s *schedule, list []Want) {
	s.want(list, d.Store.Value, time.Now())
	before := d.episodes
	d.episodes = make(map[string]*episodes, len(list))
	for _, w := range list {
		d.episodes[w.Key] = cmp.Or(before[w.Key], &episodes{})
	}
	d.lookAtAll(s)
	s.isKnown = true
	d.sweep(s)
}

// sweep removes the values that are not wanted.
func (d *Deliverer) sweep(s *schedule) {
	if !s.isKnown {
		return
	}
	keys, err := d.Store.Keys()
	if err != nil {
		d.Log.Error("delivered credentials not listed", "error", err)
	}
	for _, key := range keys {
		if s.wants(key) {
			continue
		}
		if err := d.Store.Remove(key); err != nil {
			d.Log.Error("credential not removed", "error", err)
			continue
		}
		d.Log.Info("credential removed", "reason", "the map no longer delivers it")
	}
}

// Once delivers what is due now, and returns the outcome for each wanted credential.
func (d *Deliverer) Once(ctx context.Context, list []Want) []Result {
	d.clean()
	s := newSchedule(rand.Uint64())
	d.want(s, list)
	s.begin(time.Now())
	due := s.running
	results := make([]Result, len(list))
	slots := make(chan struct{}, mostAtOnce)
	var wait sync.WaitGroup
	for i, w := range list {
		if !due[w.Key] {
			v, err := d.Store.Value(w.Key)
			results[i] = Result{Want: w, Value: v, Err: err}
			continue
		}
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			results[i] = d.deliver(ctx, w)
		})
	}
	wait.Wait()
	for _, r := range results {
		if due[r.Want.Key] {
			d.log(r)
		}
	}
	return results
}

// deliver fetches one credential, proves it and hands it over.
func (d *Deliverer) deliver(ctx context.Context, w Want) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it took longer than %s", limit))
	defer cancel()
	old, err := d.Store.Value(w.Key)
	r := Result{Want: w, first: err != nil}
	if err == nil {
		r.Value = old
	}
	from := time.Now()
	fetched, err := d.Fetch(ctx, w)
	if err == nil && !fetched.Until.IsZero() && !fetched.Until.After(time.Now()) {
		err = fmt.Errorf("it had already expired when it was fetched, at %s; check that the node's clock is right, or renew it", stamp(fetched.Until))
	}
	if err != nil {
		return d.fail(ctx, r, "", fmt.Errorf("credential %q: %w", w.Credential.Name, err))
	}
	proof, err := d.Prove(ctx, w, fetched.Authorization)
	if err != nil {
		return d.fail(ctx, r, fetched.Authorization, err)
	}
	value := handover.Value{
		Registry: w.Target.String(), Authorization: fetched.Authorization, Realm: proof.Realm,
		Until: fetched.Until, Credential: w.Credential.Name, From: from, Renew: fetched.Renew, Issued: fetched.Issued, Unproved: !proof.Certain,
	}
	if err := d.Store.SetValue(w.Key, value); err != nil {
		return d.fail(ctx, r, "", err)
	}
	r.Value, r.proved = value, proof.Certain
	return r
}

// fail records why there is no newer credential. The present one stays, unless its
// registry refuses it: then it has expired.
func (d *Deliverer) fail(ctx context.Context, r Result, refused credential.Secret, why error) Result {
	r.Err = why
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return r // told to stop, which says nothing about the registry
	}
	if d.isOver(ctx, r, refused) {
		r.Value.Until = time.Now()
		if err := d.Store.SetValue(r.Want.Key, r.Value); err != nil {
			r.Err = errors.Join(why, err)
		}
	}
	if err := d.Store.SetFault(r.Want.Key, handover.Fault{Registry: r.Want.Target.String(), Reason: oneLine(why), At: time.Now()}); err != nil {
		r.Err = errors.Join(why, err)
	}
	return r
}

// isOver reports whether the registry refuses the present credential. One that names
// its end is asked about only if the newly fetched one is the same. If the registry now
// has containerd show another host whatever credential there is, the present one ends too.
func (d *Deliverer) isOver(ctx context.Context, r Result, refused credential.Secret) bool {
	v := r.Value
	if v.Authorization == "" || v.Ended(time.Now()) {
		return false
	}
	var refusal *prove.Refusal
	if errors.As(r.Err, &refusal) && refusal.Elsewhere {
		return true
	}
	err := r.Err
	if v.Authorization != refused {
		if !v.Until.IsZero() {
			return false
		}
		_, err = d.Prove(ctx, r.Want, v.Authorization)
	}
	return errors.As(err, &refusal) && refusal.Credential
}

// log tells the outcome of a delivery.
func (d *Deliverer) log(r Result) {
	log := d.Log.With("registry", r.Want.Target.String(), "credential", r.Want.Credential.Name)
	e := d.episodes[r.Want.Key]
	if e == nil {
		return // the map no longer delivers it
	}
	var refusal *prove.Refusal
	switch {
	case r.Err != nil:
		what := "delivery failed"
		if errors.As(r.Err, &refusal) {
			what = "delivery refused"
		}
		if e.failing.Begins(log, oneLine(r.Err)) {
			log.Warn(what, "reason", oneLine(r.Err))
		}
	default:
		e.failing.Ends(log, "delivery works again")
		what := "credential renewed"
		if r.first {
			what = "credential delivered"
		}
		log.Info(what, "until", cmp.Or(stamp(r.Value.Until), "never"))
		switch {
		case r.proved:
			e.unproved.Ends(log, "credential proved")
		case e.unproved.Begins(log, notProved):
			log.Warn("credential not proved", "reason", notProved)
		}
	}
}

const notProved = "the registry answers without it too"

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
