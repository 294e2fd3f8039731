package systemd

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// maxStatus is how long a status line may be, in bytes. systemd drops a notice
// of more than 4096 as a whole (src/core/manager.h, NOTIFY_BUFFER_MAX).
const maxStatus = 1024

// A Notifier tells systemd how the program fares. Where NOTIFY_SOCKET is not
// set, as when an operator runs the program by hand, it tells nobody.
type Notifier struct {
	interval time.Duration
}

// NewNotifier reads from the environment what systemd asks of this process.
func NewNotifier() (Notifier, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return Notifier{}, fmt.Errorf("the watchdog's time in the environment: %w; unset WATCHDOG_USEC, which systemd sets by WatchdogSec=", err)
	}
	return Notifier{interval: watchdog / 2}, nil
}

// Ready says that the program does its work: after its start, and again after
// each [Notifier.Reloading].
func (n Notifier) Ready(status string) error {
	return n.send("ready", daemon.SdNotifyReady+"\n"+statusLine(status))
}

// Status sets the line that "systemctl status" shows.
func (n Notifier) Status(status string) error {
	return n.send("status", statusLine(status))
}

// Reloading says that SIGHUP was heard; [Notifier.Ready] has to follow.
func (n Notifier) Reloading() error {
	// With Type=notify-reload, which a drop-in may set, systemd tells by the
	// time whether this answers its signal.
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return fmt.Errorf("read the monotonic clock: %w", err)
	}
	return n.send("reloading", fmt.Sprintf("%s\nMONOTONIC_USEC=%d", daemon.SdNotifyReloading, now.Nano()/1000))
}

// Stopping says that the program is on its way out.
func (n Notifier) Stopping(status string) error {
	return n.send("stopping", daemon.SdNotifyStopping+"\n"+statusLine(status))
}

// Alive keeps the watchdog quiet for another while.
func (n Notifier) Alive() error {
	return n.send("watchdog", daemon.SdNotifyWatchdog)
}

// Interval returns how often [Notifier.Alive] is to be called, which is twice in
// the time that systemd allows; 0 where no watchdog waits.
func (n Notifier) Interval() time.Duration { return n.interval }

// KeepAlive calls Alive at each interval at which alive reports true, until ctx
// is done; where no watchdog waits it returns at once. A program with a loop of
// its own better calls Alive from there, which proves that the loop turns.
//
// A notice that cannot be sent is no reason to stop: the next one may get
// through, and systemd acts when none does. The error is that of the last one.
func (n Notifier) KeepAlive(ctx context.Context, alive func() bool) error {
	if n.interval == 0 {
		return nil
	}
	ticker := time.NewTicker(n.interval)
	defer ticker.Stop()
	var err error
	for {
		select {
		case <-ctx.Done():
			return err
		case <-ticker.C:
			if alive() {
				err = n.Alive()
			}
		}
	}
}

func (Notifier) send(name, state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
		return fmt.Errorf("notify systemd (%s): %w", name, err)
	}
	return nil
}

// statusLine returns the assignment of a status. A line break in it would begin
// another assignment, and systemd takes no text that is not UTF-8.
func statusLine(status string) string {
	status = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(status, "?"))
	if len(status) > maxStatus {
		status = strings.ToValidUTF8(status[:maxStatus-len("…")], "") + "…"
	}
	return "STATUS=" + status
}
