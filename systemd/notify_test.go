package systemd_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// A manager is the end of NOTIFY_SOCKET that systemd holds.
type manager int

// listen makes a manager, and the environment of a service of it whose watchdog
// waits for the time given.
func listen(t *testing.T, watchdog time.Duration) manager {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	path := filepath.Join(t.TempDir(), "notify")
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_PID", fmt.Sprint(os.Getpid()))
	t.Setenv("WATCHDOG_USEC", "")
	if watchdog > 0 {
		t.Setenv("WATCHDOG_USEC", fmt.Sprint(watchdog.Microseconds()))
	}
	return manager(fd)
}

// heard returns the notices that have come.
func (m manager) heard(t *testing.T) []string {
	t.Helper()
	var list []string
	buf := make([]byte, 8192)
	for {
		n, _, err := unix.Recvfrom(int(m), buf, 0)
		switch err {
		case nil:
			list = append(list, string(buf[:n]))
		case unix.EINTR:
		case unix.EAGAIN:
			return list
		default:
			t.Fatal(err)
		}
	}
}

func newNotifier(t *testing.T) systemd.Notifier {
	t.Helper()
	n, err := systemd.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNotifications(t *testing.T) {
	m := listen(t, time.Minute)
	n := newNotifier(t)
	for _, test := range []struct {
		name string
		send func() error
		want string
	}{
		{"Ready", func() error { return n.Ready("in sync: 3 sources") }, "READY=1\nSTATUS=in sync: 3 sources"},
		{"Status", func() error { return n.Status("1 source pending") }, "STATUS=1 source pending"},
		{"Status of a fault", func() error { return n.Status("mirrors.toml:1: x\nMAINPID=1\x1b") }, "STATUS=mirrors.toml:1: x MAINPID=1 "},
		{"Status of bytes", func() error { return n.Status("a\xffb") }, "STATUS=a?b"},
		{"Stopping", func() error { return n.Stopping("asked to stop") }, "STOPPING=1\nSTATUS=asked to stop"},
	} {
		if err := test.send(); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		got := strings.Join(m.heard(t), "|")
		if got != test.want {
			t.Errorf("%s sent %q; want %q", test.name, got, test.want)
		}
	}
}

// TestLongStatus holds a status far below the size at which systemd drops it.
func TestLongStatus(t *testing.T) {
	m := listen(t, 0)
	for pad := range 3 {
		text := strings.Repeat("x", pad) + strings.Repeat("é", 5000)
		if err := newNotifier(t).Ready(text); err != nil {
			t.Fatal(err)
		}
		got := strings.Join(m.heard(t), "|")
		if len(got) > 1100 || !utf8.ValidString(got) || !strings.HasSuffix(got, "é…") {
			t.Errorf("a long status is sent as %d bytes that end in %q", len(got), got[len(got)-8:])
		}
	}
}

func TestNoManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	t.Setenv("WATCHDOG_USEC", "")
	n := newNotifier(t)
	for name, send := range map[string]func() error{
		"Ready":     func() error { return n.Ready("") },
		"KeepAlive": func() error { return n.KeepAlive(t.Context(), nil) },
	} {
		if err := send(); err != nil {
			t.Errorf("%s = %v; want nothing without a listener", name, err)
		}
	}
}

func TestNotifySocketGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	t.Setenv("WATCHDOG_USEC", "")
	err := newNotifier(t).Ready("")
	if err == nil || !strings.HasPrefix(err.Error(), "notify systemd (ready): ") {
		t.Errorf("Ready = %v; want an error that says what was not sent", err)
	}
}

func TestWatchdogEnvironment(t *testing.T) {
	self := fmt.Sprint(os.Getpid())
	for env, want := range map[[2]string]time.Duration{
		{"", ""}:           0,
		{"60000000", self}: 30 * time.Second,
		{"60000000", ""}:   30 * time.Second,
		{"60000000", "1"}:  0, // inherited: another process is watched
	} {
		t.Setenv("WATCHDOG_USEC", env[0])
		t.Setenv("WATCHDOG_PID", env[1])
		n, err := systemd.NewNotifier()
		if err != nil || n.Interval() != want {
			t.Errorf("WATCHDOG_USEC=%q WATCHDOG_PID=%q: interval %v, %v; want %v", env[0], env[1], n.Interval(), err, want)
		}
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := systemd.NewNotifier(); err == nil || !strings.Contains(err.Error(), "WATCHDOG_USEC") {
		t.Errorf("WATCHDOG_USEC=soon: %v; want an error that names it", err)
	}
}

// TestKeepAlive lets a program live, hang for a while, and live again.
func TestKeepAlive(t *testing.T) {
	m := listen(t, time.Minute)
	n := newNotifier(t)
	synctest.Test(t, func(t *testing.T) {
		// Only a few notices: an unread socket holds ten.
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute+time.Second)
		defer cancel()
		begin := time.Now()
		var asked []time.Duration
		err := n.KeepAlive(ctx, func() bool {
			since := time.Since(begin)
			asked = append(asked, since)
			return since < time.Minute || since > 2*time.Minute
		})
		if err != nil {
			t.Errorf("KeepAlive = %v", err)
		}
		want := "[30s 1m0s 1m30s 2m0s 2m30s 3m0s]"
		if got := fmt.Sprint(asked); got != want {
			t.Errorf("asked at %s; want %s", got, want)
		}
	})
	if got := strings.Join(m.heard(t), " "); got != "WATCHDOG=1 WATCHDOG=1 WATCHDOG=1" {
		t.Errorf("heard %q; want three notices, for 30s, 2m30s and 3m0s", got)
	}
}
