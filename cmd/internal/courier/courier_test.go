package courier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/hosts"
)

const (
	mapA = "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"a.example\"]\n"
	mapB = "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"b.example\"]\n"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(data)
}

func TestUnready(t *testing.T) {
	wait := []plan.Pending{{Source: "a.example", Reason: "it waits"}}
	good := watch.Status{MapHash: "abc", Delivered: true, InSync: true, LastReconcile: time.Now()}
	for name, test := range map[string]struct {
		change func(*watch.Status)
		want   string
	}{
		"in sync":             {func(*watch.Status) {}, ""},
		"draining":            {func(s *watch.Status) { s.Draining, s.InSync = wait, false }, ""},
		"held":                {func(s *watch.Status) { s.Held, s.InSync = wait, false }, ""},
		"pending":             {func(s *watch.Status) { s.Pending, s.InSync = wait, false }, ""},
		"pending, restarting": {func(s *watch.Status) { s.Pending, s.RestartKubelet = wait, true }, "a.example: it waits"},
		"a fault":             {func(s *watch.Status) { s.Fault = "mirrors.toml:1: bad" }, "mirrors.toml:1: bad"},
		"a source's fault":    {func(s *watch.Status) { s.Faults = wait }, "a.example: it waits"},
		"a conflict":          {func(s *watch.Status) { s.Conflicts = []plan.Conflict{{Path: "/x", Reason: "not ours"}} }, "/x: not ours"},
		"reverted":            {func(s *watch.Status) { s.BackingOff = true }, "keeps reverting"},
		"another map":         {func(s *watch.Status) { s.MapHash = "def" }, "has not read this map yet"},
		"its own map": {func(s *watch.Status) {
			s.MapHash, s.Map, s.Delivered, s.UnusedMap = "def", "/etc/mirrorcred/mirrors.toml", false, "/x"
		}, "the node has a map of its own, so this one does not count; remove /etc/mirrorcred/mirrors.toml"},
		"not begun": {func(s *watch.Status) { *s = watch.Status{} }, "only just started"},
	} {
		s := good
		test.change(&s)
		if got := unready("abc", s); got != test.want && (test.want == "" || !strings.Contains(got, test.want)) {
			t.Errorf("%s: %q; want %q", name, got, test.want)
		}
	}
}

// A fakeHost is a host's watcher that a test sets.
type fakeHost struct {
	store  *watch.StatusStore
	socket string
	log    string
}

func newHost(t *testing.T) *fakeHost {
	dir := t.TempDir()
	h := &fakeHost{store: watch.NewStatusStore("1.2.3", "/map"), socket: filepath.Join(dir, "status.sock"), log: filepath.Join(dir, "plugin.jsonl")}
	listener, err := watch.Listen(nil, h.socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	server := watch.Server{Store: h.store, Metrics: watch.NewMetrics(h.store, func(string) string { return "" }, func(string) bool { return true }), Late: time.Minute, Log: func() string { return h.log }}
	go func() { done <- server.ServeSocket(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *fakeHost) reports(r watch.Report) {
	r.Began = time.Now()
	h.store.Record(r)
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if is() {
			return
		}
	}
	t.Fatalf("not within 30 s: %s", what)
}

// A volume is a ConfigMap volume, which the kubelet changes by renaming a link.
type volume struct {
	dir   string
	count int
}

func (v *volume) set(t *testing.T, text string) {
	t.Helper()
	v.count++
	version := fmt.Sprintf("..2026_%d", v.count)
	write(t, filepath.Join(v.dir, version, mapName), text)
	err := errors.Join(os.Symlink(version, filepath.Join(v.dir, "..data_tmp")), os.Rename(filepath.Join(v.dir, "..data_tmp"), filepath.Join(v.dir, "..data")))
	if v.count == 1 {
		err = errors.Join(err, os.Symlink(filepath.Join("..data", mapName), filepath.Join(v.dir, mapName)))
	} else {
		err = errors.Join(err, os.RemoveAll(filepath.Join(v.dir, fmt.Sprintf("..2026_%d", v.count-1))))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// running runs a courier until the test ends or stop is called.
func running(t *testing.T, o Options) (c *Courier, stop func()) {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return c, stop
}

func probe(c *Courier, path string) (int, string) {
	w := httptest.NewRecorder()
	c.handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	return w.Code, w.Body.String()
}

// TestRun has a courier carry a volume that changes, and end: the pod is ready
// once the host does what the map says, and the map stays.
func TestRun(t *testing.T) {
	h, v, deliver := newHost(t), &volume{dir: t.TempDir()}, t.TempDir()
	to := filepath.Join(deliver, mapName)
	v.set(t, mapA)
	o := Options{Map: filepath.Join(v.dir, mapName), Deliver: deliver, Self: Holder{"canary", "pod-a"}, Host: watch.Client{Socket: h.socket}}
	c, stop := running(t, o)
	ready := func(want bool, text string) {
		t.Helper()
		eventually(t, fmt.Sprintf("ready: %v, %q", want, text), func() bool {
			code, body := probe(c, "/readyz")
			return (code == 200) == want && strings.Contains(body, text)
		})
	}
	report := func(text string) watch.Report {
		return watch.Report{Source: node.Source{File: to, Hash: hosts.Hash([]byte(text)), Delivered: true}}
	}
	eventually(t, "the first map", func() bool { return read(t, to) == mapA })
	ready(false, "only just started")
	h.reports(report(mapA))
	ready(true, "ok")

	v.set(t, mapB)
	eventually(t, "the second map", func() bool { return read(t, to) == mapB })
	ready(false, "has not read this map yet")
	bad := report(mapB)
	bad.Err = errors.New("mirrors.toml:3: not allowed")
	h.reports(bad)
	ready(false, "mirrors.toml:3: not allowed")
	h.reports(report(mapB))
	ready(true, "ok")

	v.set(t, "version = 2\n")
	ready(false, "newer than this program")
	if read(t, to) != mapB {
		t.Error("a map with a fault was delivered")
	}
	v.set(t, mapB)
	ready(true, "ok")
	// Another program removes the map from the host.
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the map is delivered again", func() bool { return read(t, to) == mapB })
	if code, body := probe(c, "/metrics"); code != 200 || !strings.Contains(body, "mirrorcred_in_sync 1\n") {
		t.Errorf("the metrics are %d, %q", code, body)
	}
	if code, body := probe(c, "/healthz"); code != 200 {
		t.Errorf("the health is %d, %q", code, body)
	}

	// A second courier is not ready, and says whose the lock is.
	o.Self = Holder{"rest", "pod-b"}
	var log safeBuffer
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	w := &volume{dir: t.TempDir()}
	w.set(t, mapA)
	o.Map = filepath.Join(w.dir, mapName)
	first := c
	c, _ = running(t, o)
	ready(false, "the pod pod-a of ring \"canary\" holds the lock")
	if code, _ := probe(first, "/readyz"); code != 200 || read(t, to) != mapB {
		t.Errorf("the first courier: %d; the host has %q", code, read(t, to))
	}
	stop()
	eventually(t, "the lock is taken over", func() bool { return read(t, to) == mapA })
	h.reports(report(mapA))
	ready(true, "ok")
	if text := log.String(); !strings.Contains(text, "lock taken over") || !strings.Contains(text, "old_ring=canary old_pod=pod-a") {
		t.Errorf("the log is %s", text)
	}
}

// TestRunRace starts many couriers at once: one carries.
func TestRunRace(t *testing.T) {
	deliver := t.TempDir()
	var all []*Courier
	for i := range 8 {
		v := &volume{dir: t.TempDir()}
		v.set(t, mapA)
		c, _ := running(t, Options{Map: filepath.Join(v.dir, mapName), Deliver: deliver, Self: Holder{"r", fmt.Sprint(i)}, Host: watch.Client{Socket: "/no/such"}})
		all = append(all, c)
	}
	eventually(t, "each has tried", func() bool {
		for _, c := range all {
			if c.current().fault == starting {
				return false
			}
		}
		return true
	})
	holders := 0
	for _, c := range all {
		if s := c.current(); s.other == nil && s.fault == "" {
			holders++
		}
	}
	if holders != 1 {
		t.Errorf("%d couriers hold the lock", holders)
	}
}

// TestWithoutHost has no watcher on the host: the map is delivered anyway.
func TestWithoutHost(t *testing.T) {
	v, deliver := &volume{dir: t.TempDir()}, t.TempDir()
	v.set(t, mapA)
	c, _ := running(t, Options{Map: filepath.Join(v.dir, mapName), Deliver: deliver, Host: watch.Client{Socket: filepath.Join(t.TempDir(), "no.sock")}})
	eventually(t, "the map", func() bool { return read(t, filepath.Join(deliver, mapName)) == mapA })
	for _, path := range []string{"/readyz", "/metrics"} {
		eventually(t, path+" names the watcher", func() bool {
			code, body := probe(c, path)
			return code == 503 && strings.Contains(body, "no watcher runs at")
		})
	}
	if code, _ := probe(c, "/healthz"); code != 200 {
		t.Errorf("the health is %d", code)
	}
}

// A safeBuffer is a buffer for several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
func (s *safeBuffer) String() string { s.mu.Lock(); defer s.mu.Unlock(); return s.b.String() }

// TestFollow streams the host's events, and goes on after the watcher restarted.
func TestFollow(t *testing.T) {
	h := newHost(t)
	var out safeBuffer
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	began := time.Now()
	go func() { defer close(done); Follow(ctx, watch.Client{Socket: h.socket}, &out) }()
	if err := audit.Append(h.log, audit.Event{Time: audit.Time{Time: began.Add(time.Hour)}, Outcome: audit.Answered, Image: "docker.io/library/nginx"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the event", func() bool { return strings.Contains(out.String(), "docker.io/library/nginx") })
	cancel()
	<-done
	var line map[string]any
	if err := json.Unmarshal([]byte(out.String()), &line); err != nil {
		t.Errorf("%q: %v", out.String(), err)
	}
}

// TestServe asks a courier by the network.
func TestServe(t *testing.T) {
	h := newHost(t)
	c := New(Options{Map: "/no/such", Deliver: t.TempDir(), Host: watch.Client{Socket: h.socket}, Log: slog.New(slog.DiscardHandler)})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Serve(ctx, listener) }()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /readyz HTTP/1.0\r\n\r\n")
	answer := make([]byte, 12)
	if _, err := conn.Read(answer); err != nil || string(answer) != "HTTP/1.0 503" {
		t.Errorf("the answer is %q, %v", answer, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
