package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
)

// TestFollowEvents checks that -f begins with the last ten, prints what comes
// within half a second, goes on in the next log, and ends without an error.
func TestFollowEvents(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, audit.DefaultFile)
	if err := os.MkdirAll(filepath.Join(root, "var/log"), 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		next := 0
		add := func() {
			t.Helper()
			next++
			e := audit.Event{Time: audit.Time{Time: time.Now()}, Image: fmt.Sprintf("quay.io/%03d", next), Outcome: audit.Empty}
			if err := audit.Append(path, e); err != nil {
				t.Fatal(err)
			}
		}
		for range 12 {
			add()
		}
		ctx, stop := context.WithCancel(t.Context())
		var stdout bytes.Buffer
		done := make(chan error)
		go func() { done <- eventFlags{follow: true, file: audit.DefaultFile, root: root}.run(ctx, &stdout) }()
		want := func(first, last int) {
			t.Helper()
			synctest.Wait()
			got := strings.Count(stdout.String(), "\n")
			if got != last-first+1 || !strings.Contains(stdout.String(), fmt.Sprintf("quay.io/%03d", last)) {
				t.Errorf("%d lines:\n%swant %d to %d", got, &stdout, first, last)
			}
			stdout.Reset()
		}
		tick := func() { <-time.After(pollEvery + 1) }
		want(3, 12)
		add()
		tick()
		want(13, 13)
		add()
		if err := os.Rename(path, path+".1"); err != nil {
			t.Error(err)
		}
		add()
		tick()
		want(14, 15)
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestFollowNoLog checks that --follow waits for a log that does not exist yet.
func TestFollowNoLog(t *testing.T) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/log"), 0o755); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		var stdout bytes.Buffer
		done := make(chan error)
		go func() {
			done <- eventFlags{follow: true, asJSON: true, file: audit.DefaultFile, root: root}.run(ctx, &stdout)
		}()
		synctest.Wait()
		e := audit.Event{Time: audit.Time{Time: time.Now()}, Image: "quay.io/x", Outcome: audit.Empty}
		if err := audit.Append(filepath.Join(root, audit.DefaultFile), e); err != nil {
			t.Error(err)
		}
		<-time.After(pollEvery + 1)
		synctest.Wait()
		stop()
		if err := <-done; err != nil || !strings.Contains(stdout.String(), `"image":"quay.io/x"`) {
			t.Errorf("it prints %q, %v", &stdout, err)
		}
	})
}

// TestEventsBelowRoot has the log's directory be an absolute link, which leads to a
// path below the root, and not out of it.
func TestEventsBelowRoot(t *testing.T) {
	for _, isOut := range []bool{false, true} {
		root, outside := t.TempDir(), t.TempDir()
		to, dir := "/real", filepath.Join(root, "real")
		if isOut {
			to, dir = outside, outside
		}
		e := audit.Event{Time: audit.Time{Time: time.Now()}, Image: "quay.io/x", Outcome: audit.Empty}
		err := errors.Join(os.MkdirAll(filepath.Join(root, "var/log"), 0o755), os.MkdirAll(dir, 0o755),
			os.Symlink(to, filepath.Join(root, "var/log/mirrorcred")), audit.Append(filepath.Join(dir, "plugin.jsonl"), e))
		if err != nil {
			t.Fatal(err)
		}
		var stdout bytes.Buffer
		err = runEvents(t.Context(), []string{"--root", root}, &stdout)
		if (err == nil) == isOut || strings.Contains(stdout.String(), "quay.io/x") == isOut {
			t.Errorf("outside %v: %v, it prints %q", isOut, err, &stdout)
		}
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.FixedZone("", 3600))
	for text, want := range map[string]string{
		"10m": "2026-11-22T11:50:00+01:00", "1h30m": "2026-11-22T10:30:00+01:00", "0s": "2026-11-22T12:00:00+01:00",
		"09:30": "2026-11-22T09:30:00+01:00", "09:30:15": "2026-11-22T09:30:15+01:00",
		"2026-11-21": "2026-11-21T00:00:00+01:00", "2026-11-21 08:00": "2026-11-21T08:00:00+01:00",
		"2026-11-21T08:00:00Z": "2026-11-21T08:00:00Z", "2026-11-21 08:00:01": "2026-11-21T08:00:01+01:00",
		"": "", "-1m": "", "soon": "", "25:00": "",
	} {
		got, err := parseSince(text, now)
		if (err == nil) != (want != "") || err == nil && got.Format(time.RFC3339) != want {
			t.Errorf("parseSince(%q) = %s, %v; want %q", text, got.Format(time.RFC3339), err, want)
		}
	}
}
