package watch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

// A Kubelet can be restarted, and given back the configuration that it had.
type Kubelet interface {
	// Restart restarts it and returns nil when it is up and stays so.
	Restart(ctx context.Context) error
	// Restore puts its configuration back to what it was before the last
	// change.
	Restore(ctx context.Context) error
}

// Restarts decides when the kubelet is restarted: after a new source, which it
// reads only when it starts. The nodes of a cluster get a map at the same time,
// so each waits a random while; and two restarts are never close together. Its
// methods are for one goroutine.
type Restarts struct {
	Kubelet Kubelet
	// Jitter is the longest random wait before a restart; 0 means none.
	Jitter time.Duration
	// Floor is the least time between two restarts; 0 means 5 min.
	Floor time.Duration
	// Limit is how long a restart may take; 0 means 2 min.
	Limit time.Duration
	// Stamp is a file whose date is the last restart, so that the floor holds
	// across restarts of the watcher too; "" for none.
	Stamp string
	Log   *slog.Logger

	due, last time.Time // zero where none is
	stamped   bool      // Stamp was read
}

// Consider restarts the kubelet where the report says that sources wait for
// that and it is time.
func (r *Restarts) Consider(ctx context.Context, report Report) {
	if report.Err != nil || report.Fights || !report.Plan.NeedsRestart {
		r.due = time.Time{}
		return
	}
	now := time.Now()
	r.readStamp(now)
	if r.due.IsZero() {
		r.due = now
		if r.Jitter > 0 {
			r.due = now.Add(rand.N(r.Jitter))
		}
		if earliest := r.last.Add(r.floor()); !r.last.IsZero() && r.due.Before(earliest) {
			r.due = earliest
		}
		if r.due.After(now) {
			r.Log.Info("kubelet is to be restarted for new sources", "in", r.due.Sub(now).Round(time.Second), "sources", len(report.Plan.Pending))
		}
	}
	if now.Before(r.due) {
		return
	}
	r.due, r.last = time.Time{}, now
	r.stamp()
	r.restart(ctx)
}

// readStamp takes over the last restart of a watcher before this one. A date to
// come is no restart's: the clock was set.
func (r *Restarts) readStamp(now time.Time) {
	if r.stamped || r.Stamp == "" {
		return
	}
	r.stamped = true
	if info, err := os.Stat(r.Stamp); err == nil && info.ModTime().Before(now) {
		r.last = info.ModTime()
	}
}

func (r *Restarts) stamp() {
	if r.Stamp == "" {
		return
	}
	err := os.MkdirAll(filepath.Dir(r.Stamp), 0o700)
	if err == nil {
		err = os.WriteFile(r.Stamp, nil, 0o644)
	}
	if err == nil {
		err = os.Chtimes(r.Stamp, r.last, r.last)
	}
	if err != nil {
		r.Log.Warn("restart of the kubelet not noted; another watcher may restart it again soon", "error", err)
	}
}

func (r *Restarts) floor() time.Duration {
	if r.Floor == 0 {
		return 5 * time.Minute
	}
	return r.Floor
}

// restart restarts the kubelet, and where it does not come up does so again
// with its old configuration: a node without a kubelet is worse than one
// without a mirror.
func (r *Restarts) restart(ctx context.Context) {
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
	err := try()
	if err == nil {
		r.Log.Info("kubelet restarted")
		return
	}
	if ctx.Err() != nil {
		return
	}
	r.Log.Error("kubelet did not come up with its new configuration; putting the old one back", "error", err)
	if err := r.Kubelet.Restore(ctx); err != nil {
		r.Log.Error("kubelet's old configuration not put back", "error", err)
		return
	}
	if err := try(); err != nil {
		r.Log.Error("kubelet did not come up with its old configuration either", "error", err)
		return
	}
	r.Log.Warn("kubelet is up with its old configuration; the new sources stay pending")
}
