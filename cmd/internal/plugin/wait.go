package plugin

import (
	"context"
	"fmt"
	"sync"
)

// waits are the steps that a run is in and cannot interrupt.
type waits struct {
	mu    sync.Mutex
	what  string
	ended bool // by respond, or by giveUp
}

// await returns what f returns. f takes no context and runs on the goroutine of
// respond; see [Run] for what happens if it hangs. Other goroutines use
// [within].
func await[T any](n *node, what string, f func() (T, error)) (T, error) {
	n.setWait(what)
	defer n.setWait("")
	return f()
}

func (n *node) setWait(what string) {
	n.waits.mu.Lock()
	defer n.waits.mu.Unlock()
	n.waits.what = what
}

// end claims the end of the run, and reports whether it was still unclaimed.
func (n *node) end() bool {
	n.waits.mu.Lock()
	defer n.waits.mu.Unlock()
	first := !n.waits.ended
	n.waits.ended = true
	return first
}

// inMiddleOf returns the step that the run cannot leave and claims the run's
// end, or "". over says that the end was claimed before.
func (n *node) inMiddleOf() (what string, over bool) {
	n.waits.mu.Lock()
	defer n.waits.mu.Unlock()
	if n.waits.ended {
		return "", true
	}
	n.waits.ended = n.waits.what != ""
	return n.waits.what, false
}

// within returns what f returns, or an error if ctx ends first; f then goes on
// unattended. It is for reading files while several credentials are fetched.
func within[T any](ctx context.Context, what string, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("waited for %s", what)
	}
}
