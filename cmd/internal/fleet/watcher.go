package fleet

import (
	"context"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// changeMap lives through a map with a new source: all nodes get it within a second, and
// as soon as the watcher has restarted the kubelet, a pod pulls from the mirror.
func (n *Node) changeMap(ctx context.Context, jitter time.Duration) {
	if !sleep(ctx, n.upTo(time.Second)) {
		return
	}
	ctx, done := context.WithCancel(ctx)
	defer done()
	restarts := watch.Restarts{
		Kubelet: kubelet{n}, Jitter: jitter, Log: quiet,
		Random: n.upTo,
	}
	watch.New(applier{n}, nil, watch.Options{Log: quiet, Done: func(r watch.Report) {
		restarts.Consider(ctx, r)
		if n.source {
			done() // what the watcher does from here on sends nothing
		}
	}}).Run(ctx)
	if n.source {
		n.Pull(context.WithoutCancel(ctx), Registry)
	}
}

// An applier has one source, which waits for the kubelet.
type applier struct{ node *Node }

// ApplyUnless implements [watch.Applier].
func (a applier) ApplyUnless(_ context.Context, _ func(string) bool, _ func(plan.Plan) bool) (plan.Plan, error) {
	if a.node.source {
		return plan.Plan{}, nil
	}
	return plan.Plan{NeedsRestart: true, Pending: []plan.Pending{{Source: "mcr.microsoft.com"}}}, nil
}

// A kubelet takes some seconds to restart.
type kubelet struct{ node *Node }

// Ready implements [watch.Kubelet].
func (kubelet) Ready(context.Context) error { return nil }

// Restart implements [watch.Kubelet].
func (k kubelet) Restart(ctx context.Context) error {
	if !sleep(ctx, 3*time.Second+k.node.upTo(time.Second)) {
		return ctx.Err()
	}
	k.node.source = true
	return nil
}

// Restore implements [watch.Kubelet].
func (kubelet) Restore(context.Context) error { return nil }
