package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// TestStatusEnded holds that status reports an expired credential from that moment on,
// as check does, and not only after the watcher's next pass.
func TestStatusEnded(t *testing.T) {
	for name, test := range map[string]struct {
		left  time.Duration // 0 for a credential without an end
		ended bool
	}{
		"it ends later":       {time.Hour, false},
		"it has expired":      {-time.Second, true},
		"it has no end":       {0, false},
		"it expired long ago": {-1000 * time.Hour, true},
	} {
		store := watch.NewStatusStore(version, "/etc/mirrorcred/mirrors.toml")
		store.Record(watch.Report{Began: time.Now()}) // in sync
		d := watch.Delivery{Registry: "harbor.corp", Credential: "robot"}
		if test.left != 0 {
			d.Until = time.Now().Add(test.left)
		}
		store.SetDeliveries([]watch.Delivery{{Registry: "zot.corp"}, d})
		out, err := statusOf(t, store)
		var code exit
		if isFault := errors.As(err, &code) && code == 1; isFault != test.ended || !test.ended && err != nil {
			t.Errorf("%s: status ends with %v", name, err)
		}
		if strings.Contains(out, "not in sync") != test.ended || strings.Contains(out, "credential robot in hosts.toml expired") != test.ended {
			t.Errorf("%s: status is\n%s", name, out)
		}
	}
}

// statusOf runs "mirrorcred status" against a watcher with that status.
func statusOf(t *testing.T, store *watch.StatusStore) (string, error) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "status.sock")
	listener, err := watch.Listen(nil, socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	server := watch.Server{Store: store, Metrics: watch.NewMetrics(store, func(string) string { return "" }, func(string) bool { return true }), Late: time.Minute, Log: func() string { return "" }}
	go func() { done <- server.ServeSocket(ctx, listener) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	var out bytes.Buffer
	err = run(t.Context(), []string{"status", "--socket", socket}, &out)
	return out.String(), err
}
