package watch

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A fakeNode is an Applier whose plan a test sets.
type fakeNode struct {
	plan    func() (plan.Plan, error) // nil: nothing to do
	missing []string                  // sources that are in force and not in the map
	passes  []time.Duration           // when it was reconciled, since the start
	done    []bool                    // whether the plan was carried out
	removed map[string]time.Duration  // when a source was removed, since the start
	start   time.Time
	mu      sync.Mutex // what the test did happens before the next pass
}

func (f *fakeNode) order() {
	f.mu.Lock()
	defer f.mu.Unlock()
}

func (f *fakeNode) ApplyUnless(_ context.Context, hold func(string) bool, veto func(plan.Plan) bool) (plan.Plan, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var todo plan.Plan
	var err error
	if f.plan != nil {
		todo, err = f.plan()
	}
	f.passes = append(f.passes, time.Since(f.start))
	if err == nil {
		for _, source := range f.missing {
			if hold(source) {
				todo.Held = append(todo.Held, plan.Pending{Source: source})
			} else if _, gone := f.removed[source]; !gone {
				f.removed[source] = time.Since(f.start)
				todo.Changes = append(todo.Changes, plan.Change{Stage: plan.StageRemove, Path: "/" + source})
			}
		}
	}
	f.done = append(f.done, err == nil && !veto(todo))
	return todo, err
}

// A run is a watcher at work in a bubble of its own time.
type run struct {
	node    *fakeNode
	hints   chan struct{}
	log     *strings.Builder
	reports []Report
	written time.Time // the map
}

// running starts a watcher; it is ended with the test's bubble.
func running(t *testing.T, todo func() (plan.Plan, error), o Options) *run {
	r := &run{node: &fakeNode{plan: todo, removed: map[string]time.Duration{}, start: time.Now()}, hints: make(chan struct{}, 1), log: &strings.Builder{}}
	o.Log = slog.New(slog.NewTextHandler(r.log, nil))
	o.Done = func(report Report) { r.reports = append(r.reports, report) }
	o.MapTime = func() time.Time { return r.written }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		New(r.node, r.hints, o).Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	return r
}

// hint adds a hint, and lets time pass.
func (r *run) hint(pass time.Duration) {
	select {
	case r.hints <- struct{}{}:
	default:
	}
	r.pass(pass)
}

// pass lets time in the bubble pass.
func (r *run) pass(d time.Duration) {
	r.node.order()
	time.Sleep(d)
	synctest.Wait()
}

func (r *run) wantLooks(t *testing.T, want ...time.Duration) {
	t.Helper()
	if !slices.Equal(r.node.passes, want) {
		t.Errorf("reconciled at %v; want %v", r.node.passes, want)
	}
}

const ms = time.Millisecond

func TestWaitsUntilQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, nil, Options{})
		r.pass(ms)
		for range 5 { // a file that is written in pieces
			r.hint(15 * ms)
		}
		r.pass(time.Second)
		r.wantLooks(t, 0, (1+4*15+20)*ms)
	})
}

// TestCeiling checks that an endless stream of events neither thrashes nor
// starves the watcher.
func TestCeiling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, nil, Options{})
		for range 2010 { // 10 s
			r.hint(5 * ms)
		}
		if n := len(r.node.passes); n < 19 || n > 22 {
			t.Errorf("reconciled %d times in 10 s of a storm; want about 2 a second", n)
		}
	})
}

func TestTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, nil, Options{Tick: 10 * time.Second})
		r.pass(25 * time.Second)
		r.wantLooks(t, 0, 10*time.Second, 20*time.Second)
	})
}

// TestRecheck checks that the watcher reconciles often while something waits
// for the kubelet, and only then.
func TestRecheck(t *testing.T) {
	for name, todo := range map[string]plan.Plan{
		"pending":  {Pending: []plan.Pending{{Source: "a.example"}}},
		"draining": {Draining: []plan.Pending{{Source: "a.example"}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				now := todo
				r := running(t, func() (plan.Plan, error) { return now, nil }, Options{})
				r.pass(2500 * ms)
				now = plan.Plan{}
				r.pass(10 * time.Second)
				r.wantLooks(t, 0, time.Second, 2*time.Second, 3*time.Second)
				if n := strings.Count(r.log.String(), "msg=\"source "+name); n != 1 {
					t.Errorf("logged %d times; want once:\n%s", n, r.log)
				}
			})
		})
	}
}

// TestReconcilesWhenCredentialExpires checks that the watcher reconciles in the moment in which a credential in
// hosts.toml ends, whether that comes before the tick or after it, and once for each end.
func TestReconcilesWhenCredentialExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ends := []time.Duration{7 * time.Second, 7*time.Second + ms, 25 * time.Second}
		r := running(t, func() (plan.Plan, error) {
			for _, end := range ends {
				if at := start.Add(end); at.After(time.Now()) {
					return plan.Plan{Ends: at}, nil
				}
			}
			return plan.Plan{}, nil
		}, Options{Tick: 10 * time.Second})
		r.pass(36 * time.Second)
		r.wantLooks(t, 0, 7*time.Second, 7*time.Second+ms, 17*time.Second+ms, 25*time.Second, 35*time.Second)
	})
}

// TestEndedMeanwhile checks that an end that comes during a pass leads to another pass at
// once.
func TestEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(time.Second)
		r := running(t, func() (plan.Plan, error) {
			if time.Now().After(end) {
				return plan.Plan{}, nil
			}
			time.Sleep(3 * time.Second)
			return plan.Plan{Ends: end}, nil
		}, Options{})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		r.wantLooks(t, 3*time.Second, 3*time.Second)
	})
}

// TestSlowPasses checks that slow passes do not keep the node busy all the
// time.
func TestSlowPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var looks atomic.Int32
		running(t, func() (plan.Plan, error) {
			time.Sleep(200 * ms)
			looks.Add(1)
			return plan.Plan{Pending: []plan.Pending{{Source: "a.example"}}}, nil
		}, Options{})
		time.Sleep(time.Minute)
		if n := looks.Load(); n < 12 || n > 15 {
			t.Errorf("reconciled %d times in a minute; want about 14, a twentieth of the time", n)
		}
	})
}

// TestRemovalIsHeld checks that a removal waits for the map to be stable, and
// that nothing else does.
func TestRemovalIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		todo := plan.Plan{}
		r := running(t, func() (plan.Plan, error) { return todo, nil }, Options{})
		todo, r.node.missing = restoring("/b", "two"), []string{"a.example"}
		for range 3 { // saved every second
			r.written = time.Now()
			r.hint(time.Second)
		}
		if slices.Contains(r.node.done, false) {
			t.Errorf("carried out: %v; want what is not a removal at once", r.node.done)
		}
		if last := r.reports[len(r.reports)-1]; len(last.Plan.Held) != 1 {
			t.Errorf("held are %v; want a.example", last.Plan.Held)
		}
		r.pass(time.Minute)
		if got, want := r.node.removed["a.example"], 4*time.Second; got != want {
			t.Errorf("removed at %v; want %v, 2 s after the map was written last", got, want)
		}
	})
}

// TestRestlessMap has a map that is never stable: it is rewritten each second.
func TestRestlessMap(t *testing.T) {
	fault := errors.New("mirrors.toml:1: syntax")
	tests := map[string]struct {
		// missing are the sources that the map of a second does not name.
		missing func(second int) ([]string, error)
		want    map[string]int // the second in which a source is removed
	}{
		"in each map": {func(int) ([]string, error) { return []string{"a"}, nil }, map[string]int{"a": 60}},
		"each by itself": {func(s int) ([]string, error) {
			if s < 30 {
				return []string{"a"}, nil
			}
			return []string{"a", "b"}, nil
		}, map[string]int{"a": 60, "b": 90}},
		"but for one map": {func(s int) ([]string, error) {
			if s == 40 {
				return nil, nil
			}
			return []string{"a"}, nil
		}, map[string]int{"a": 101}},
		"now and then": {func(s int) ([]string, error) { return []string{"a"}[:s%2], nil }, map[string]int{}},
		"with faulty maps in between": {func(s int) ([]string, error) {
			if s%2 == 1 {
				return nil, fault
			}
			return []string{"a"}, nil
		}, map[string]int{"a": 60}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var err error
				r := running(t, func() (plan.Plan, error) { return plan.Plan{}, err }, Options{})
				for second := range 120 {
					r.node.missing, err = test.missing(second)
					r.written = time.Now()
					r.hint(time.Second)
				}
				got := map[string]int{}
				for source, when := range r.node.removed {
					got[source] = int(when / time.Second)
				}
				if !maps.Equal(got, test.want) {
					t.Errorf("removed in the seconds %v; want %v", got, test.want)
				}
			})
		})
	}
}

// TestMapOfTheFuture checks that a clock that was set back delays nothing.
func TestMapOfTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, nil, Options{})
		r.node.missing, r.written = []string{"a.example"}, time.Now().Add(time.Hour)
		r.hint(2100 * ms)
		if _, gone := r.node.removed["a.example"]; !gone {
			t.Error("the source is held for more than 2 s")
		}
	})
}

func TestFault(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := []plan.Conflict{{Path: "/etc/containerd/certs.d/b.example/hosts.toml", Reason: "it was edited"}}
		var fault error
		r := running(t, func() (plan.Plan, error) { return plan.Plan{Conflicts: left}, fault }, Options{})
		fault = errors.New("mirrors.toml:1: syntax")
		r.hint(time.Minute)
		r.hint(time.Second)
		fault = errors.New("mirrors.toml:2: syntax")
		r.hint(time.Second)
		fault = nil
		r.hint(time.Minute)
		if n := len(r.node.passes); n < 7 {
			t.Errorf("reconciled %d times; want it to go on", n)
		}
		for text, want := range map[string]int{"mirrors.toml:1": 2, "mirrors.toml:2": 2, "fault over": 1, "map applied again": 1, "msg=conflict ": 1} {
			if n := strings.Count(r.log.String(), text); n != want {
				t.Errorf("%q is logged %d times; want %d:\n%s", text, n, want, r.log)
			}
		}
	})
}

// restoring returns a plan that restores a file.
func restoring(path, data string) plan.Plan {
	return plan.Plan{Changes: []plan.Change{{Stage: plan.StageHosts, Path: path, New: []byte(data)}}}
}

// TestBackoff deletes a file whenever it is written.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, todo := true, restoring("/a", "one")
		r := running(t, func() (plan.Plan, error) {
			if gone {
				return todo, nil
			}
			return plan.Plan{}, nil
		}, Options{})
		var tries []time.Duration
		seen := 0
		for range 20 * 60 * 20 { // 20 minutes
			for ; seen < len(r.node.done); seen++ {
				if r.node.done[seen] {
					tries = append(tries, r.node.passes[seen].Truncate(time.Second))
				}
			}
			r.hint(50 * ms)
		}
		s := time.Second
		want := []time.Duration{0, 0, 0, 0, 0, 10 * s, 30 * s, 70 * s, 150 * s, 310 * s, 610 * s, 910 * s}
		if !slices.Equal(tries, want) {
			t.Errorf("wrote at %v; want %v", tries, want)
		}
		if n := strings.Count(r.log.String(), "another program keeps reverting files"); n != 1 || !strings.Contains(r.log.String(), "files=[/a]") {
			t.Errorf("the backoff is logged %d times; want once:\n%s", n, r.log)
		}
		// A new change is not delayed by it.
		todo = plan.Plan{Changes: slices.Concat(todo.Changes, restoring("/b", "two").Changes)}
		r.hint(50 * ms)
		if n := len(r.node.done); !r.node.done[n-1] {
			t.Error("another file waits for the backoff; want it to be written")
		}
		gone = false
		r.pass(10 * time.Minute)
		r.hint(time.Second)
		// It was long ago.
		gone = true
		r.hint(50 * ms)
		if n := len(r.node.done); !r.node.done[n-1] {
			t.Error("the file waits for a backoff that is over")
		}
	})
}

// TestNoBackoff checks that alternating maps cause no backoff.
func TestNoBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := 0
		r := running(t, func() (plan.Plan, error) {
			i++
			return restoring("/a", []string{"one", "two"}[i%2]), nil
		}, Options{})
		for range 50 {
			r.written = time.Now()
			r.hint(50 * ms)
		}
		if slices.Contains(r.node.done, false) {
			t.Error("alternating maps cause a backoff")
		}
	})
}
