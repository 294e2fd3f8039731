package watch

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Kubelet can be restarted, and its configuration rolled back.
type Kubelet interface {
	// Ready returns why the kubelet cannot be restarted from here, nil if it can.
	Ready(ctx context.Context) error
	// Restart restarts the kubelet and returns nil once it is up and stays up.
	// After a [NotRestartedError] it runs as before.
	Restart(ctx context.Context) error
	// Restore rolls its configuration back to before the last change.
	Restore(ctx context.Context) error
}

// A NotRestartedError says why a restart was not even attempted.
type NotRestartedError struct{ Reason error }

// Error returns the reason.
func (e *NotRestartedError) Error() string { return e.Reason.Error() }

// Unwrap returns the reason.
func (e *NotRestartedError) Unwrap() error { return e.Reason }

// DefaultJitter is the longest wait of "mirrorcred watch". It is enough for 900 nodes:
// package fleet has the rule for more.
const DefaultJitter = 30 * time.Second

// Restarts decides when the kubelet is restarted: after a new source, which it
// reads only when it starts. The nodes of a cluster get a map at the same time,
// so each waits a random while; and two restarts are never close together. Its
// methods are for one goroutine.
type Restarts struct {
	Kubelet Kubelet
	// Jitter is the longest random wait before a restart; 0 means none.
	Jitter time.Duration
	// Random draws that wait, from 0 up to Jitter; nil means rand.N.
	Random func(longest time.Duration) time.Duration
	// Floor is the least time between two restarts; 0 means 5 min.
	Floor time.Duration
	// Limit is how long a restart may take; 0 means 2 min.
	Limit time.Duration
	// Stamp is a file that holds the time of the last restart, so that the floor
	// holds across restarts of the watcher too; "" for none. It is below Root.
	Stamp string
	Root  *input.Root // nil for this machine's own
	// Unable, if not nil, is called with why the kubelet cannot be restarted from
	// here, and with "" once it can.
	Unable func(reason string)
	// Ended, if not nil, is called with the outcome of each attempt.
	Ended func(outcome RestartOutcome)
	Log   *slog.Logger

	due, last time.Time // zero if there is none
	stamped   bool      // Stamp was read
	asked     time.Time // when the kubelet was last asked whether it is ready; zero before
	unable    string    // why it cannot be restarted, "" if it can
	hindered  episode.Episode
	refused   bool // which showed only at an attempt
}

// A RestartOutcome is how an attempt to restart the kubelet ended.
type RestartOutcome string

// The outcomes of an attempt.
const (
	Restarted    RestartOutcome = "restarted"
	NotAttempted RestartOutcome = "not-attempted" // it runs as before
	RolledBack   RestartOutcome = "rolled-back"   // it runs with its old configuration
	RestartFault RestartOutcome = "failed"        // it may not run
)

var restartOutcomes = []RestartOutcome{Restarted, NotAttempted, RolledBack, RestartFault}

func (r *Restarts) ended(outcome RestartOutcome) {
	if r.Ended != nil {
		r.Ended(outcome)
	}
}

// askAgain is how long to wait before asking again if the kubelet can be
// restarted.
const askAgain = time.Minute

// Consider restarts the kubelet if sources wait for that and it is time.
func (r *Restarts) Consider(ctx context.Context, report Report) {
	isNeeded := report.Err == nil && !report.BackingOff && report.Plan.NeedsRestart
	if !isNeeded {
		r.due = time.Time{}
	}
	now := time.Now()
	// Asked at the start too, so that an operator knows before a source waits.
	isNew := isNeeded && r.due.IsZero() || r.asked.IsZero()
	if isNew && !r.ready(ctx, now) || !isNeeded {
		return
	}
	r.readStamp(now)
	if r.due.IsZero() {
		r.due = now
		if r.Jitter > 0 {
			r.due = now.Add(r.random(r.Jitter))
		}
		if earliest := r.last.Add(r.floor()); !r.last.IsZero() && r.due.Before(earliest) {
			r.due = earliest
		}
		if r.due.After(now) {
			r.Log.Info("kubelet restart scheduled for new sources", "at", r.due.Format(time.RFC3339), "sources", len(report.Plan.Pending))
		}
	}
	if now.Before(r.due) {
		return
	}
	r.due = time.Time{}
	r.restart(ctx, now)
}

// ready reports whether the kubelet can be restarted from here, as far as that
// is known without trying.
func (r *Restarts) ready(ctx context.Context, now time.Time) bool {
	if r.unable != "" && now.Sub(r.asked) < askAgain {
		return false
	}
	err := r.Kubelet.Ready(ctx)
	switch {
	case ctx.Err() != nil:
		return false
	case err == nil && r.refused:
		r.asked = now
	default:
		r.isUnable(err, now)
	}
	return err == nil
}

// isUnable logs once why the kubelet cannot be restarted, nil if it can.
func (r *Restarts) isUnable(err error, now time.Time) {
	before := r.unable
	r.asked, r.unable = now, ""
	if err != nil {
		r.unable = err.Error()
	}
	switch {
	case r.unable == before:
		return
	case err == nil:
		r.hindered.Ends(r.Log, "kubelet can be restarted from here now")
	case r.hindered.Begins(r.Log, r.unable):
		r.Log.Warn("kubelet cannot be restarted from here; restart it yourself when a source is pending", "reason", err)
	}
	if r.Unable != nil {
		r.Unable(r.unable)
	}
}

// readStamp takes over the last restart by an earlier watcher. A time in the
// future does not count: the clock was set.
func (r *Restarts) readStamp(now time.Time) {
	if r.stamped || r.Stamp == "" {
		return
	}
	r.stamped = true
	data, err := r.Root.ReadFile(r.Stamp, 64)
	if err != nil {
		return
	}
	if last, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(data))); err == nil && last.Before(now) {
		r.last = last
	}
}

// stamp records the last restart. It replaces whatever is there, which may be a
// link or a FIFO.
func (r *Restarts) stamp() {
	if r.Stamp == "" {
		return
	}
	tree := durable.Tree{Root: r.Root}
	var err error
	if r.last.IsZero() {
		err = tree.RemoveAll(r.Stamp)
	} else {
		err = tree.Replace(r.Stamp, []byte(r.last.Format(time.RFC3339Nano)+"\n"))
	}
	if err != nil {
		r.Log.Warn("restart of the kubelet not recorded; another watcher may restart it again soon", "error", err)
	}
}

func (r *Restarts) random(longest time.Duration) time.Duration {
	if r.Random == nil {
		return rand.N(longest)
	}
	return r.Random(longest)
}

func (r *Restarts) floor() time.Duration {
	if r.Floor == 0 {
		return 5 * time.Minute
	}
	return r.Floor
}

// restart restarts the kubelet, and if it does not start, again with its old
// configuration: a node without a kubelet is worse than one without a mirror.
func (r *Restarts) restart(ctx context.Context, now time.Time) {
	limit := r.Limit
	if limit == 0 {
		limit = 2 * time.Minute
	}
	try := func() error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return r.Kubelet.Restart(ctx)
	}
	r.Log.Info("restarting the kubelet for new sources")
	before := r.last
	r.last = now
	r.stamp() // before the restart, in case this watcher ends meanwhile
	began := time.Now()
	err := try()
	var not *NotRestartedError
	if r.refused = errors.As(err, &not) && ctx.Err() == nil; r.refused {
		r.last = before
		r.stamp()
		r.isUnable(not.Reason, now)
		r.ended(NotAttempted)
		return
	}
	r.isUnable(nil, now)
	if err == nil {
		r.Log.Info("kubelet restarted", "took", episode.Lasted(began))
		r.ended(Restarted)
		return
	}
	if ctx.Err() != nil {
		return
	}
	r.Log.Error("kubelet did not start with its new configuration; restoring the old one", "error", err)
	r.ended(r.restore(ctx, try))
}

// restore restarts the kubelet with its old configuration.
func (r *Restarts) restore(ctx context.Context, try func() error) RestartOutcome {
	var not *NotRestartedError
	if err := r.Kubelet.Restore(ctx); err != nil {
		r.Log.Error("kubelet's old configuration not restored", "error", err)
		return RestartFault
	}
	switch err := try(); {
	case errors.As(err, &not):
		r.Log.Error("kubelet's old configuration restored but the kubelet not restarted; restart it yourself", "reason", err)
		return RestartFault
	case err != nil:
		r.Log.Error("kubelet did not start with its old configuration either", "error", err)
		return RestartFault
	}
	r.Log.Warn("kubelet runs with its old configuration; the new sources stay pending")
	return RolledBack
}
