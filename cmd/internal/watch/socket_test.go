package watch

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// linkedRoot returns a root with an absolute link as its /run, and where that
// leads: to a directory below the root or, if isOut, outside.
func linkedRoot(t *testing.T, isOut bool) (root, run string) {
	t.Helper()
	root = t.TempDir()
	to := "/real/run"
	run = filepath.Join(root, to)
	if isOut {
		run = t.TempDir()
		to = run
	}
	err := errors.Join(os.MkdirAll(filepath.Join(root, "run"), 0o755), os.MkdirAll(run, 0o755), os.Symlink(to, filepath.Join(root, "run/mirrorcred")))
	if err != nil {
		t.Fatal(err)
	}
	return root, run
}

// TestSocketBelowRoot makes the socket's directory a link.
func TestSocketBelowRoot(t *testing.T) {
	root, run := linkedRoot(t, false)
	tree, socket := input.NewRoot(root), filepath.Join(root, "run/mirrorcred/status.sock")
	listener, err := Listen(tree, socket)
	if err != nil {
		t.Fatal(err)
	}
	go socketServer(NewStatusStore("1.2.3", "")).ServeSocket(t.Context(), listener)
	if _, err := os.Lstat(filepath.Join(run, "status.sock")); err != nil {
		t.Error(err)
	}
	if s, err := ReadStatus(t.Context(), tree, socket); err != nil || s.Version != "1.2.3" {
		t.Errorf("the answer is %+v, %v", s, err)
	}
	if err := listener.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(run, "status.sock")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}

	// One that leads outside, to a socket.
	root, run = linkedRoot(t, true)
	tree, socket = input.NewRoot(root), filepath.Join(root, "run/mirrorcred/status.sock")
	serving(t, NewStatusStore("outside", ""), filepath.Join(run, "status.sock"))
	if s, err := ReadStatus(t.Context(), tree, socket); err == nil {
		t.Errorf("another machine's watcher answers: %+v", s)
	}
	if err := os.Remove(filepath.Join(root, "run/mirrorcred")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Mkdir(filepath.Join(root, "run/mirrorcred"), 0o755), os.Symlink(filepath.Join(run, "status.sock"), socket)); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadStatus(t.Context(), tree, socket); err == nil {
		t.Errorf("another machine's watcher answers by a link: %+v", s)
	}
	if _, err := Listen(tree, socket); err == nil || !strings.Contains(err.Error(), "this file is not a socket") {
		t.Errorf("Listen in the place of a link: %v", err)
	}
}

// TestSocketBusy checks that the socket of a watcher that is too busy to answer
// stays.
func TestSocketBusy(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "busy.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: socket}), unix.Listen(fd, 0))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for range 3 { // more than it takes
		if conn, err := net.DialTimeout("unix", socket, 50*time.Millisecond); err == nil {
			defer conn.Close()
		}
	}
	began := time.Now()
	if _, err := Listen(nil, socket); err == nil || !strings.Contains(err.Error(), "another watcher runs there") || time.Since(began) > 3*time.Second {
		t.Errorf("Listen = %v after %v", err, time.Since(began))
	}
	if _, err := os.Lstat(socket); err != nil {
		t.Error(err)
	}
}

// TestStampReplaced puts things that are not files where the last restart is
// recorded: nothing hangs, nothing is written elsewhere, and the kubelet is
// restarted.
func TestStampReplaced(t *testing.T) {
	const canary = "canary"
	for name, plant := range map[string]func(stamp, outside string) error{
		"a link":              func(stamp, outside string) error { return os.Symlink(outside, stamp) },
		"a link to nothing":   func(stamp, _ string) error { return os.Symlink("/no/such", stamp) },
		"a FIFO":              func(stamp, _ string) error { return unix.Mkfifo(stamp, 0o600) },
		"a directory":         func(stamp, _ string) error { return os.MkdirAll(filepath.Join(stamp, "x"), 0o755) },
		"a file of much text": func(stamp, _ string) error { return os.WriteFile(stamp, make([]byte, 1<<20), 0o600) },
		"a future time": func(stamp, _ string) error {
			return os.WriteFile(stamp, []byte(time.Now().Add(time.Hour).Format(time.RFC3339Nano)), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			stamp, outside := filepath.Join(dir, "kubelet-restart"), filepath.Join(t.TempDir(), "file")
			if err := errors.Join(os.WriteFile(outside, []byte(canary), 0o644), plant(stamp, outside)); err != nil {
				t.Fatal(err)
			}
			kubelet := &fakeKubelet{start: time.Now()}
			done := make(chan struct{})
			go func() {
				defer close(done)
				r := Restarts{Kubelet: kubelet, Stamp: stamp, Log: slog.New(slog.DiscardHandler)}
				r.Consider(t.Context(), Report{Plan: plan.Plan{NeedsRestart: true}})
			}()
			select {
			case <-done:
			case <-time.After(5 * time.Second):
				t.Fatal("it hangs")
			}
			if len(kubelet.done) != 1 {
				t.Errorf("it did %q", kubelet.done)
			}
			if data, err := os.ReadFile(outside); string(data) != canary {
				t.Errorf("the file that the link leads to is %q, %v", data, err)
			}
			left, _ := filepath.Glob(filepath.Join(dir, ".*"))
			if len(left) > 0 {
				t.Errorf("%q are left", left)
			}
		})
	}
	for _, isOut := range []bool{false, true} {
		root, run := linkedRoot(t, isOut)
		kubelet := &fakeKubelet{start: time.Now()}
		r := Restarts{Kubelet: kubelet, Stamp: filepath.Join(root, "run/mirrorcred/kubelet-restart"), Root: input.NewRoot(root), Log: slog.New(slog.DiscardHandler)}
		r.Consider(t.Context(), Report{Plan: plan.Plan{NeedsRestart: true}})
		if _, err := os.Lstat(filepath.Join(run, "kubelet-restart")); (err == nil) == isOut {
			t.Errorf("outside %v: %v", isOut, err)
		}
	}
}

// TestSocketServes asks the socket for all that it has: a pod that is given only
// the socket's directory needs nothing else of the node.
func TestSocketServes(t *testing.T) {
	dir := t.TempDir()
	socket, log := filepath.Join(dir, "status.sock"), filepath.Join(dir, "plugin.jsonl")
	store := NewStatusStore("1.2.3", "/map")
	store.SetRestartKubelet()
	store.Record(began(Report{Plan: plan.Plan{Sources: 3}, Source: node.Source{File: "/etc/mirrorcred/delivered/mirrors.toml", Hash: "abc", Delivered: true}}))
	listener, err := Listen(nil, socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	s := socketServer(store)
	s.Log = func() string { return log }
	go func() { served <- s.ServeSocket(ctx, listener) }()
	client := Client{Socket: socket}
	status, err := client.Status(ctx)
	if err != nil || status.Map != "/etc/mirrorcred/delivered/mirrors.toml" || status.MapHash != "abc" || !status.Delivered || !status.RestartKubelet || !status.Armed {
		t.Errorf("the status is %+v, %v", status, err)
	}
	var metrics strings.Builder
	if err := client.Metrics(ctx, &metrics); err != nil || !strings.Contains(metrics.String(), "mirrorcred_in_sync 1\n") {
		t.Errorf("the metrics are %q, %v", metrics.String(), err)
	}
	// The log appears later, and old lines in it are not sent.
	events := make(chan string, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- client.Events(ctx, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC), func(e audit.Event, line []byte) { events <- e.Image + " " + string(line) })
	}()
	write := func(day, image string) {
		f, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(`{"time":"2026-01-0` + day + `T00:00:00Z","outcome":"answered","image":"` + image + `"}` + "\n"); err != nil {
			t.Fatal(err)
		}
	}
	write("1", "old")
	for day, image := range map[string]string{"3": "first", "4": "second"} {
		write(day, image)
		select {
		case got := <-events:
			if !strings.HasPrefix(got, image+" {") {
				t.Errorf("the event is %q; want that of %s", got, image)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("no event came")
		}
	}
	cancel() // the watcher ends, and its followers with it
	if err := <-served; err != nil {
		t.Error(err)
	}
	<-ended
	if _, err := client.Status(t.Context()); err == nil {
		t.Error("a watcher that ended answers")
	}
}

// TestFollowersBounded has more clients follow the events than may.
func TestFollowersBounded(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "status.sock")
	serving(t, NewStatusStore("1.2.3", ""), socket)
	client := Client{Socket: socket}
	for range mostFollowers {
		body, err := client.open(t.Context(), "/events")
		if err != nil {
			t.Fatal(err)
		}
		defer body.Close()
	}
	if err := client.Events(t.Context(), time.Now(), nil); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("one too many: %v", err)
	}
	if _, err := client.Status(t.Context()); err != nil {
		t.Error(err)
	}
}
