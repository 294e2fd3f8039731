package watch

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// TestPost tells how the outcomes of looks are put in a few words.
func TestPost(t *testing.T) {
	wait := []node.Wait{{Source: "a.example", Reason: "r"}}
	tests := map[string]struct {
		report Report
		line   string
		inStep bool
	}{
		"in step":  {Report{Plan: node.Plan{Sources: 2}}, "2 sources, 0 pending, 0 draining, 0 held, 0 left alone", true},
		"changed":  {Report{Plan: mend("/a", "one")}, "0 sources, 0 pending, 0 draining, 0 held, 0 left alone", true},
		"pending":  {Report{Plan: node.Plan{Pending: wait}}, "0 sources, 1 pending, 0 draining, 0 held, 0 left alone", false},
		"draining": {Report{Plan: node.Plan{Draining: wait}}, "0 sources, 0 pending, 1 draining, 0 held, 0 left alone", false},
		"left":     {Report{Plan: node.Plan{Left: []node.Left{{Path: "/a"}}}}, "0 sources, 0 pending, 0 draining, 0 held, 1 left alone", false},
		"fault":    {Report{Err: errors.New("line 1")}, "the map is not applied: line 1", false},
		"held":     {Report{Plan: node.Plan{Held: wait}}, "0 sources, 0 pending, 0 draining, 1 held, 0 left alone", false},
		"fights":   {Report{Plan: mend("/a", "one"), Fights: true}, "somebody else keeps changing our files", false},
	}
	for name, test := range tests {
		b := NewBoard("1.2.3", "/etc/mirrorcred/mirrors.toml")
		if got := b.Status().Line(); got != "looking at the node" {
			t.Errorf("%s: at first the line is %q", name, got)
		}
		b.Post(began(test.report))
		s := b.Status()
		if s.Line() != test.line || s.InStep != test.inStep || s.Looked.IsZero() {
			t.Errorf("%s: the status is %+v with the line %q; want %q, in step %t", name, s, s.Line(), test.line, test.inStep)
		}
		if (name == "changed") == s.Changed.IsZero() {
			t.Errorf("%s: changed at %v", name, s.Changed)
		}
		// A fault leaves what is known of the node.
		b.Post(began(Report{Err: errors.New("line 1")}))
		if after := b.Status(); after.Sources != s.Sources || len(after.Pending) != len(s.Pending) || after.InStep {
			t.Errorf("%s: with a fault the status is %+v", name, after)
		}
		b.Post(began(Report{}))
		if after := b.Status(); after.Fault != "" || !after.InStep {
			t.Errorf("%s: without the fault the status is %+v", name, after)
		}
	}
}

// serving serves a board on a socket until the test ends.
func serving(t *testing.T, b *Board, socket string) {
	t.Helper()
	listener, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
}

func TestSocket(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "run", "status.sock")
	if _, err := Ask(t.Context(), socket); err == nil || !strings.Contains(err.Error(), "; start it with") {
		t.Errorf("without a watcher: %v; want what to do", err)
	}
	b := NewBoard("1.2.3", "/map")
	b.Post(began(Report{Plan: node.Plan{Sources: 3}}))
	serving(t, b, socket)
	s, err := Ask(t.Context(), socket)
	if err != nil || s.Version != "1.2.3" || s.Sources != 3 || !s.InStep || s.Pending == nil && s.PID == 0 {
		t.Errorf("the answer is %+v, %v", s, err)
	}
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket is %v, %v; want mode 0600", info.Mode(), err)
	}
	if info, err := os.Stat(filepath.Dir(socket)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("its directory is %v, %v; want mode 0700", info.Mode(), err)
	}
	// One who asks and does not listen keeps nobody waiting.
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := Ask(t.Context(), socket); err != nil {
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
		serving(t, NewBoard("", ""), socket)
		if _, err := Ask(t.Context(), socket); err != nil {
			t.Error(err)
		}
	})
	t.Run("in use", func(t *testing.T) {
		socket := filepath.Join(dir, "used.sock")
		serving(t, NewBoard("", ""), socket)
		if _, err := Listen(socket); err == nil || !strings.Contains(err.Error(), "another watcher answers there; ") {
			t.Errorf("the error is %v", err)
		}
		if _, err := Ask(t.Context(), socket); err != nil {
			t.Errorf("the first one: %v", err)
		}
	})
	t.Run("a file", func(t *testing.T) {
		name := filepath.Join(dir, "file")
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Listen(name); err == nil || !strings.Contains(err.Error(), "is no socket is in the way; ") {
			t.Errorf("the error is %v", err)
		}
		if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) {
			t.Error("the file was removed")
		}
	})
	t.Run("too long", func(t *testing.T) {
		if _, err := Listen(filepath.Join(dir, strings.Repeat("x", 108))); err == nil || !strings.Contains(err.Error(), "at most 107 bytes; ") {
			t.Errorf("the error is %v", err)
		}
	})
}

func TestMetrics(t *testing.T) {
	b := NewBoard("1.2.3", "/map")
	m := NewMetrics(b)
	reports := []Report{
		{Plan: node.Plan{Sources: 7, Pending: []node.Wait{{}, {}}, Draining: []node.Wait{{}}, Left: []node.Left{{}, {}, {}}}, Took: time.Millisecond},
		{Plan: mend("/a", "one")}, {Plan: node.Plan{Held: []node.Wait{{}}}}, {Plan: mend("/a", "one"), Fights: true}, {Err: errors.New("fault")},
	}
	b.Post(began(reports[0]))
	for _, r := range reports {
		m.Observe(r)
	}
	text := scrape(t, m, b, "/metrics")
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "mirrorcred_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, want := range []string{
		`mirrorcred_build_info{version="1.2.3"} 1`, "mirrorcred_in_step 0", "mirrorcred_fault 0", "mirrorcred_sources 7",
		"mirrorcred_sources_pending 2", "mirrorcred_sources_draining 1", "mirrorcred_files_left 3",
		"mirrorcred_file_events 1", "mirrorcred_file_events_losses_total 0", "mirrorcred_last_change_timestamp_seconds 0", "mirrorcred_look_duration_seconds_count 5",
		`mirrorcred_looks_total{result="unchanged"} 1`, `mirrorcred_looks_total{result="changed"} 1`, `mirrorcred_looks_total{result="held"} 1`,
		`mirrorcred_looks_total{result="fought"} 1`, `mirrorcred_looks_total{result="error"} 1`, "process_resident_memory_bytes ",
	} {
		if !strings.Contains(text, "\n"+want) {
			t.Errorf("no line begins with %q", want)
		}
	}
	b.Hear(Hearing{Deaf: "no watches left", Losses: 2})
	if text := scrape(t, m, b, "/metrics"); !strings.Contains(text, "\nmirrorcred_file_events 0\n") || !strings.Contains(text, "\nmirrorcred_file_events_losses_total 2\n") {
		t.Errorf("without events the metrics are\n%s", text)
	}
	b.Post(began(Report{Err: errors.New("fault")}))
	if text := scrape(t, m, b, "/metrics"); !strings.Contains(text, "\nmirrorcred_fault 1\n") || strings.Contains(text, "\nmirrorcred_last_look_timestamp_seconds 0\n") {
		t.Errorf("with a fault the metrics are\n%s", text)
	}
	if text := scrape(t, m, b, "/healthz"); text != "ok\nthe map is not applied: fault\n" {
		t.Errorf("the health is %q", text)
	}
}

// TestHealth tells that a watcher which stopped looking is not well.
func TestHealth(t *testing.T) {
	b := NewBoard("", "")
	b.status.Started = time.Now().Add(-time.Hour)
	w := httptest.NewRecorder()
	NewMetrics(b).handler(b, time.Minute).ServeHTTP(w, httptest.NewRequest("GET", "/healthz", nil))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "not looked at for 1h0m0s") {
		t.Errorf("the health is %d %q", w.Code, w.Body)
	}
}

func scrape(t *testing.T, m *Metrics, b *Board, path string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler(b, time.Minute).ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != http.StatusOK {
		t.Errorf("%s: %d %s", path, w.Code, w.Body)
	}
	return w.Body.String()
}

// began is a report of a look that began just now.
func began(r Report) Report {
	r.Began = time.Now()
	return r
}
