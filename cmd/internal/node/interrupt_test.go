package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestInterrupted tells each transition to stop behind each of its changes: the
// node is whole, without leftovers, nothing more was changed, and the next run
// finishes the work.
func TestInterrupted(t *testing.T) {
	for name, tr := range transitions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh, want := prepare(t, tr)
			for k := 1; ; k += tr.stride() {
				n, maps := fresh(t)
				ctx, stop := context.WithCancel(t.Context())
				made := 0
				n.Made = func(plan.Change) {
					if made++; made == k {
						stop()
					}
				}
				todo, err := n.Apply(ctx)
				stop()
				when := fmt.Sprintf("stopped after change %d", k)
				tr.checkHalf(t, n, maps, when)
				if err == nil {
					if k < len(todo.Changes) || made != len(todo.Changes) {
						t.Errorf("%s: the run went on, and made %d of %d changes", when, made, len(todo.Changes))
					}
					break
				}
				// Those of the kubelet's files are made together.
				var part *InterruptedError
				if !errors.As(err, &part) || part.Made != made || part.Made < k || part.Changes <= k || part.Changes != len(todo.Changes) {
					t.Errorf("%s: the error is %v after %d changes", when, err, made)
				}
				if !errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), fmt.Sprintf("interrupted after %d of %d changes", made, len(todo.Changes))) {
					t.Errorf("%s: the error is %q", when, err)
				}
				n.Made = nil
				if again, err := n.Plan(t.Context()); err != nil || len(again.Leftovers) > 0 {
					t.Errorf("%s: %q are left, %v", when, again.Leftovers, err)
				}
				tr.apply(t, n)
				tr.check(t, n, maps, "after it was "+when)
				sameTree(t, tr.tree(t, n), want)
				if t.Failed() {
					t.FailNow()
				}
			}
		})
	}
}

// TestInterruptedWaiting tells runs to stop that wait: for another mirrorcred, and
// for a file that another program writes.
func TestInterruptedWaiting(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	f, err := n.openLock()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	stopSoon := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		_, err := n.Apply(ctx)
		var part *InterruptedError
		if took := time.Since(began); !errors.As(err, &part) || part.Made != 0 || took < 50*time.Millisecond || took > 2*time.Second {
			t.Errorf("%s: %v after %v", what, err, took)
		}
	}
	stopSoon("another mirrorcred")
	n.LockTimeout = 100 * time.Millisecond
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "another mirrorcred (process ") {
		t.Errorf("the error is %v; want that another mirrorcred holds the lock, and its process", err)
	}
	f.Close()
	n.host.(*fake).clock = time.Now
	write(t, n.Map, emptyMap) // the map was changed just now, and removes a source
	stopSoon("a map that is not still")
	write(t, n.path(kubeletFile), "")
	stopSoon("the kubelet's file that is not still")
}
