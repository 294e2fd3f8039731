package watch

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A slow applier takes a second for each look.
type slow struct{}

func (slow) ApplyUnless(context.Context, func(string) bool, func(node.Plan) bool) (node.Plan, error) {
	time.Sleep(time.Second)
	return node.Plan{}, nil
}

// Whoever has edited the map waits for a look that is later than the edit: one
// that was under way did not see it.
func TestLookedIsWhenTheLookBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		began := time.Now()
		board := NewBoard("1", "mirrors.toml")
		New(slow{}, nil, Options{Log: slog.New(slog.DiscardHandler), Done: func(r Report) {
			board.Post(r)
			cancel()
		}}).Run(ctx)
		if s := board.Status(); !s.InStep || !s.Looked.Equal(began) {
			t.Errorf("in step %t, looked at %s; want true and %s", s.InStep, s.Looked, began)
		}
	})
}
