package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// errInterrupted ends a stage of a plan between two of its changes.
var errInterrupted = errors.New("interrupted")

// An InterruptedError says that a run was told to stop, and stopped between two
// changes. Each source is as it was before the run or as the map wants it, and
// the next run goes on.
type InterruptedError struct {
	Made, Changes int // how many changes were made, and how many there were
}

// Error says how far the run got.
func (e *InterruptedError) Error() string {
	if e.Changes == 0 {
		return "interrupted before the first change; run this again"
	}
	return fmt.Sprintf("interrupted after %d of %d changes; run this again to go on", e.Made, e.Changes)
}

// Unwrap returns the cause.
func (e *InterruptedError) Unwrap() error { return context.Canceled }

// interrupted returns errInterrupted if a run must end before its next change.
func interrupted(ctx context.Context) error {
	if ctx.Err() != nil {
		return errInterrupted
	}
	return nil
}

// howFar adds a plan's numbers to an interruption.
func (n *Node) howFar(todo plan.Plan, err error) error {
	if errors.Is(err, errInterrupted) {
		return &InterruptedError{n.count, len(todo.Changes)}
	}
	return err
}

// made counts a change that is in place, and reports it.
func (n *Node) made(c plan.Change) {
	n.count++
	if n.Made != nil {
		n.Made(c)
	}
}
