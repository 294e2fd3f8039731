package node_test

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// TestWatcherEndsDelivered runs a watcher of a whole node without file events past the end
// of a credential in hosts.toml: in that second, and not at the next tick, a list with the
// source behind it is written without its mirror, and one without the source stays, so that
// its pulls fail. Both are logged.
func TestWatcherEndsDelivered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, hand := node.NewDelivered(t)
		var log strings.Builder
		hand("Basic c4n4ry", time.Now().Add(time.Hour))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		passes := 0
		go func() {
			defer close(done)
			watch.New(n, nil, watch.Options{Tick: 24 * time.Hour, Log: slog.New(slog.NewTextHandler(&log, nil)), Done: func(watch.Report) { passes++ }}).Run(ctx)
		}()
		defer func() { cancel(); <-done }()

		// want fails unless the header is in the file of each of the sources, and in no
		// other.
		want := func(when string, sources ...string) {
			t.Helper()
			synctest.Wait()
			for _, source := range []string{"quay.io", "harbor.corp"} {
				data, err := os.ReadFile(n.Root + "/etc/containerd/certs.d/" + source + "/hosts.toml")
				if has := strings.Contains(string(data), "c4n4ry"); err != nil || has != slices.Contains(sources, source) {
					t.Errorf("%s: the file of %s has the header: %t, %v\n%s", when, source, has, err, log.String())
				}
			}
		}
		want("at the start", "quay.io", "harbor.corp")
		time.Sleep(time.Hour - 1)
		want("before the end", "quay.io", "harbor.corp")
		time.Sleep(time.Nanosecond)
		want("at the end", "harbor.corp")
		for _, text := range []string{"its mirror is left out until it is renewed", "pulls through it fail until it is renewed"} {
			if !strings.Contains(log.String(), text) {
				t.Errorf("not logged: %s\n%s", text, log.String())
			}
		}
		if strings.Contains(log.String(), "c4n4ry") {
			t.Errorf("the log has the credential:\n%s", log.String())
		}
		time.Sleep(23 * time.Hour)
		if synctest.Wait(); passes != 2 {
			t.Errorf("%d passes; want one at the start and one at the end", passes)
		}
		// Renewed before the next tick, without an event: it is noticed then, and the new
		// end as well.
		hand("Basic c4n4ry2", time.Now().Add(90*time.Minute))
		time.Sleep(time.Hour)
		want("renewed", "quay.io", "harbor.corp")
		time.Sleep(30 * time.Minute)
		want("at the second end", "harbor.corp")
	})
}
