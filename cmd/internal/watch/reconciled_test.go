package watch

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A slow applier takes a second for each pass.
type slow struct{}

func (slow) ApplyUnless(context.Context, func(string) bool, func(plan.Plan) bool) (plan.Plan, error) {
	time.Sleep(time.Second)
	return plan.Plan{}, nil
}

// A program that edited the map waits for a pass that began after the edit,
// since a pass in progress may not have seen it.
func TestLastReconcileIsWhenThePassBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		store := NewStatusStore("1", "mirrors.toml")
		New(slow{}, nil, Options{Log: slog.New(slog.DiscardHandler), Done: func(r Report) {
			store.Record(r)
			cancel()
		}}).Run(ctx)
		if s := store.Status(); !s.InSync || !s.LastReconcile.Equal(began) {
			t.Errorf("in sync %t, last reconcile %s; want true and %s", s.InSync, s.LastReconcile, began)
		}
	})
}
