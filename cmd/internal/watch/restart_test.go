package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A fakeKubelet records what is done to it. It fails to start fail times.
type fakeKubelet struct {
	start time.Time
	done  []string
	fail  int
	// unready is why it cannot be restarted, and refuse whether that shows only at
	// an attempt.
	unready error
	refuse  bool
}

func (k *fakeKubelet) Ready(context.Context) error {
	if k.refuse {
		return nil
	}
	return k.unready
}

func (k *fakeKubelet) note(what string) {
	k.done = append(k.done, fmt.Sprint(what, " ", time.Since(k.start).Round(time.Second)))
}

func (k *fakeKubelet) Restart(context.Context) error {
	if k.unready != nil {
		return &NotRestartedError{k.unready}
	}
	k.note("restart")
	if k.fail > 0 {
		k.fail--
		return errors.New("it did not stay up")
	}
	return nil
}

func (k *fakeKubelet) Restore(context.Context) error {
	k.note("restore")
	return nil
}

func TestRestarts(t *testing.T) {
	pending := Report{Plan: plan.Plan{NeedsRestart: true, Pending: []plan.Pending{{Source: "a.io"}}}}
	for name, test := range map[string]struct {
		fail    int
		reports func(second int) Report
		want    []string
	}{
		"in sync":             {0, func(int) Report { return Report{} }, nil},
		"one source":          {0, func(s int) Report { return onlyIf(s < 2, pending) }, []string{"restart 0s"}},
		"a fault of the map":  {0, func(int) Report { r := pending; r.Err = errors.New("x"); return r }, nil},
		"backing off":         {0, func(int) Report { r := pending; r.BackingOff = true; return r }, nil},
		"another soon after":  {0, func(s int) Report { return onlyIf(s == 0 || s >= 10, pending) }, []string{"restart 0s", "restart 5m0s"}},
		"another long after":  {0, func(s int) Report { return onlyIf(s == 0 || s == 400, pending) }, []string{"restart 0s", "restart 6m40s"}},
		"it does not come up": {1, func(s int) Report { return onlyIf(s == 0, pending) }, []string{"restart 0s", "restore 0s", "restart 0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kubelet := &fakeKubelet{start: time.Now(), fail: test.fail}
				var ended []RestartOutcome
				r := Restarts{Kubelet: kubelet, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Ended: func(o RestartOutcome) { ended = append(ended, o) }}
				for second := range 500 {
					r.Consider(t.Context(), test.reports(second))
					time.Sleep(time.Second) // in the bubble's time
				}
				outcome := Restarted
				if test.fail > 0 {
					outcome = RolledBack
				}
				if (len(ended) > 0) != (len(test.want) > 0) || slices.ContainsFunc(ended, func(o RestartOutcome) bool { return o != outcome }) {
					t.Errorf("the outcomes are %q; want only %q", ended, outcome)
				}
				if name == "another soon after" {
					kubelet.done = kubelet.done[:2]
				}
				if !slices.Equal(kubelet.done, test.want) {
					t.Errorf("%q; want %q", kubelet.done, test.want)
				}
			})
		})
	}
}

// TestRestartsUnable has a kubelet that cannot be restarted, such as without
// systemd: that is logged once, nothing is rolled back, and once it can be
// restarted, it soon is.
func TestRestartsUnable(t *testing.T) {
	for _, refuse := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			kubelet := &fakeKubelet{start: time.Now(), refuse: refuse}
			var log strings.Builder
			store := NewStatusStore("", "")
			r := Restarts{Kubelet: kubelet, Unable: store.SetNoRestart, Log: slog.New(slog.NewTextHandler(&log, nil))}
			pending := Report{Plan: plan.Plan{NeedsRestart: true, Pending: []plan.Pending{{Source: "a.io"}}}}
			kubelet.unready = errors.New("cannot reach systemd")
			r.Consider(t.Context(), Report{}) // nothing waits yet
			if said := strings.Contains(log.String(), "cannot be restarted from here"); said == refuse {
				t.Errorf("at the start it logs %q", log.String())
			}
			for range 600 {
				r.Consider(t.Context(), pending)
				time.Sleep(time.Second)
			}
			if n := strings.Count(log.String(), "kubelet cannot be restarted from here; restart it yourself"); n != 1 || strings.Contains(log.String(), "old") || len(kubelet.done) > 0 {
				t.Errorf("refuse %v: it did %q, and logs\n%s", refuse, kubelet.done, log.String())
			}
			if store.Status().NoRestart != "cannot reach systemd" {
				t.Errorf("refuse %v: the status is %q", refuse, store.Status().NoRestart)
			}
			kubelet.unready = nil
			began := time.Since(kubelet.start)
			for len(kubelet.done) == 0 && time.Since(kubelet.start)-began < 2*time.Minute {
				r.Consider(t.Context(), pending)
				time.Sleep(time.Second)
			}
			if len(kubelet.done) != 1 || store.Status().NoRestart != "" || !strings.Contains(log.String(), "can be restarted from here now") {
				t.Errorf("refuse %v: once it can be restarted, it did %q, has status %q, and logs\n%s", refuse, kubelet.done, store.Status().NoRestart, log.String())
			}
		})
	}
}

func onlyIf(is bool, r Report) Report {
	if is {
		return r
	}
	return Report{}
}

func TestRestartsJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kubelet := &fakeKubelet{start: time.Now()}
		r := Restarts{Kubelet: kubelet, Jitter: time.Minute, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
		for range 61 {
			r.Consider(t.Context(), Report{Plan: plan.Plan{NeedsRestart: len(kubelet.done) == 0}})
			time.Sleep(time.Second)
		}
		if len(kubelet.done) != 1 {
			t.Errorf("%q; want one restart within the minute", kubelet.done)
		}
	})
}

// TestRestartsStamp starts a second watcher soon after the first one restarted
// the kubelet.
func TestRestartsStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kubelet := &fakeKubelet{start: time.Now()}
		stamp := filepath.Join(t.TempDir(), "run", "kubelet-restart")
		pending := Report{Plan: plan.Plan{NeedsRestart: true}}
		for len(kubelet.done) < 2 {
			// Each pass is another watcher's.
			r := Restarts{Kubelet: kubelet, Stamp: stamp, Log: slog.New(slog.DiscardHandler)}
			r.Consider(t.Context(), pending)
			time.Sleep(time.Second)
			r.Consider(t.Context(), pending)
			if time.Since(kubelet.start) > time.Hour {
				break
			}
		}
		if want := []string{"restart 0s", "restart 5m0s"}; !slices.Equal(kubelet.done, want) {
			t.Errorf("%q; want %q", kubelet.done, want)
		}
	})
}
