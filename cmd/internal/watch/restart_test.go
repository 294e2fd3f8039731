package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A fakeKubelet records what is done to it. It fails to start as often as fail
// says.
type fakeKubelet struct {
	start time.Time
	done  []string
	fail  int
}

func (k *fakeKubelet) note(what string) {
	k.done = append(k.done, fmt.Sprint(what, " ", time.Since(k.start).Round(time.Second)))
}

func (k *fakeKubelet) Restart(context.Context) error {
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
	pending := Report{Plan: node.Plan{NeedsRestart: true, Pending: []node.Wait{{Source: "a.io"}}}}
	for name, test := range map[string]struct {
		fail    int
		reports func(second int) Report
		want    []string
	}{
		"in step":             {0, func(int) Report { return Report{} }, nil},
		"one source":          {0, func(s int) Report { return onlyIf(s < 2, pending) }, []string{"restart 0s"}},
		"a fault of the map":  {0, func(int) Report { r := pending; r.Err = errors.New("x"); return r }, nil},
		"a fight":             {0, func(int) Report { r := pending; r.Fights = true; return r }, nil},
		"another soon after":  {0, func(s int) Report { return onlyIf(s == 0 || s >= 10, pending) }, []string{"restart 0s", "restart 5m0s"}},
		"another long after":  {0, func(s int) Report { return onlyIf(s == 0 || s == 400, pending) }, []string{"restart 0s", "restart 6m40s"}},
		"it does not come up": {1, func(s int) Report { return onlyIf(s == 0, pending) }, []string{"restart 0s", "restore 0s", "restart 0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kubelet := &fakeKubelet{start: time.Now(), fail: test.fail}
				r := Restarts{Kubelet: kubelet, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
				for second := range 500 {
					r.Consider(t.Context(), test.reports(second))
					time.Sleep(time.Second) // in the bubble's time
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
			r.Consider(t.Context(), Report{Plan: node.Plan{NeedsRestart: len(kubelet.done) == 0}})
			time.Sleep(time.Second)
		}
		if len(kubelet.done) != 1 {
			t.Errorf("%q; want one restart within the minute", kubelet.done)
		}
	})
}

// TestRestartsStamp has a second watcher come soon after the first one has
// restarted the kubelet.
func TestRestartsStamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kubelet := &fakeKubelet{start: time.Now()}
		stamp := filepath.Join(t.TempDir(), "run", "kubelet-restart")
		pending := Report{Plan: node.Plan{NeedsRestart: true}}
		for len(kubelet.done) < 2 {
			// Each look is another watcher's.
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
