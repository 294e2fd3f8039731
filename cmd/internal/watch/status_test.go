package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestRecord checks the one-line summary of each outcome.
func TestRecord(t *testing.T) {
	wait := []plan.Pending{{Source: "a.example", Reason: "r"}}
	tests := map[string]struct {
		report Report
		line   string
		inSync bool
	}{
		"in sync":  {Report{Plan: plan.Plan{Sources: 2}}, "2 sources, 0 pending, 0 draining, 0 held, 0 in conflict", true},
		"changed":  {Report{Plan: restoring("/a", "one")}, "0 sources, 0 pending, 0 draining, 0 held, 0 in conflict", true},
		"loss":     {Report{Plan: plan.Plan{Loss: "config.toml:3"}}, "containerd will not read the mirrors after its next start: config.toml:3", false},
		"pending":  {Report{Plan: plan.Plan{Pending: wait}}, "0 sources, 1 pending, 0 draining, 0 held, 0 in conflict", false},
		"draining": {Report{Plan: plan.Plan{Draining: wait}}, "0 sources, 0 pending, 1 draining, 0 held, 0 in conflict", false},
		"conflict": {Report{Plan: plan.Plan{Conflicts: []plan.Conflict{{Path: "/a"}}}}, "0 sources, 0 pending, 0 draining, 0 held, 1 in conflict", false},
		"fault":    {Report{Err: errors.New("line 1")}, "the map is not applied: line 1", false},
		"held":     {Report{Plan: plan.Plan{Held: wait}}, "0 sources, 0 pending, 0 draining, 1 held, 0 in conflict", false},
		"backoff":  {Report{Plan: restoring("/a", "one"), BackingOff: true}, "another program keeps reverting mirrorcred's files", false},
	}
	for name, test := range tests {
		store := NewStatusStore("1.2.3", "/etc/mirrorcred/mirrors.toml")
		if got := store.Status().Line(); got != "comparing the node with its map" {
			t.Errorf("%s: at first the line is %q", name, got)
		}
		store.Record(began(test.report))
		s := store.Status()
		if s.Line() != test.line || s.InSync != test.inSync || s.LastReconcile.IsZero() {
			t.Errorf("%s: the status is %+v with the line %q; want %q, in sync %t", name, s, s.Line(), test.line, test.inSync)
		}
		if (name == "changed") == s.LastChange.IsZero() {
			t.Errorf("%s: changed at %v", name, s.LastChange)
		}
		// A fault keeps what is known about the node.
		store.Record(began(Report{Err: errors.New("line 1")}))
		if after := store.Status(); after.Sources != s.Sources || len(after.Pending) != len(s.Pending) || after.InSync {
			t.Errorf("%s: with a fault the status is %+v", name, after)
		}
		store.Record(began(Report{}))
		if after := store.Status(); after.Fault != "" || !after.InSync {
			t.Errorf("%s: without the fault the status is %+v", name, after)
		}
	}
}

// newServer returns a server of a watcher that must reconcile each minute, without
// a log of the plugin.
func newServer(s *StatusStore, m *Metrics) Server {
	return Server{Store: s, Metrics: m, Late: time.Minute, Log: func() string { return "" }}
}

func socketServer(s *StatusStore) Server { return newServer(s, NewMetrics(s, noLog, isArmed)) }

// serving serves a store on a socket until the test ends.
func serving(t *testing.T, s *StatusStore, socket string) {
	t.Helper()
	listener, err := Listen(nil, socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- socketServer(s).ServeSocket(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func TestSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "status.sock")
	if _, err := ReadStatus(t.Context(), nil, socket); err == nil || !strings.Contains(err.Error(), "; start it with") {
		t.Errorf("without a watcher: %v; want what to do", err)
	}
	store := NewStatusStore("1.2.3", "/map")
	store.Record(began(Report{Plan: plan.Plan{Sources: 3}}))
	serving(t, store, socket)
	s, err := ReadStatus(t.Context(), nil, socket)
	if err != nil || s.Version != "1.2.3" || s.Sources != 3 || !s.InSync || s.Pending == nil && s.PID == 0 {
		t.Errorf("the answer is %+v, %v", s, err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v; want mode 0600", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory is %v, %v; want mode 0700", info.Mode(), err)
	}
	// A client that does not read the answer blocks no other.
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := ReadStatus(t.Context(), nil, socket); err != nil {
		t.Errorf("with another who asks: %v", err)
	}
}

func TestListen(t *testing.T) {
	dir := t.TempDir()
	t.Run("stale", func(t *testing.T) {
		socket := filepath.Join(dir, "stale.sock")
		killed, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		killed.(*net.UnixListener).SetUnlinkOnClose(false)
		killed.Close()
		serving(t, NewStatusStore("", ""), socket)
		if _, err := ReadStatus(t.Context(), nil, socket); err != nil {
			t.Error(err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		socket := filepath.Join(dir, "used.sock")
		serving(t, NewStatusStore("", ""), socket)
		if _, err := Listen(nil, socket); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("another watcher (process %d) runs there; ", os.Getpid())) {
			t.Errorf("the error is %v", err)
		}
		if _, err := ReadStatus(t.Context(), nil, socket); err != nil {
			t.Errorf("the first one: %v", err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		name := filepath.Join(dir, "file")
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(nil, name); err == nil || !strings.Contains(err.Error(), "this file is not a socket; ") {
			t.Errorf("the error is %v", err)
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			t.Error("the file was removed")
		}
	})
	t.Run("too long", func(t *testing.T) {
		if _, err := Listen(nil, filepath.Join(dir, strings.Repeat("x", 108))); err == nil || !strings.Contains(err.Error(), "the name of a socket has at most ") {
			t.Errorf("the error is %v", err)
		}
	})
}

// noLog is for metrics of a plugin without a log.
func noLog(string) string { return "" }

// isArmed is for metrics of a node on which the plugin may answer.
func isArmed(string) bool { return true }

// TestHealth checks that a watcher which stopped reconciling is not healthy.
func TestHealth(t *testing.T) {
	s := NewStatusStore("", "")
	s.status.Started = time.Now().Add(-time.Hour)
	w := httptest.NewRecorder()
	newServer(s, NewMetrics(s, noLog, isArmed)).metricsHandler().ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), ", longer ago than 1m0s") {
		t.Errorf("the health is %d %q", w.Code, w.Body)
	}
}

func scrape(t *testing.T, m *Metrics, s *StatusStore, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	newServer(s, m).metricsHandler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != http.StatusOK {
		t.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// began returns the report of a pass that began just now.
func began(r Report) Report {
	r.Began = time.Now()
	return r
}
