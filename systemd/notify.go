package systemd

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"
)

// maxStatus is how long a status line may be, in bytes. systemd drops a notice
// of more than 4096 as a whole (src/core/manager.h, NOTIFY_BUFFER_MAX).
const maxStatus = 1024

// A Notifier reports the state of the program to systemd. If NOTIFY_SOCKET is not set,
// because an operator runs the program by hand, its methods do nothing.
type Notifier struct {
	interval time.Duration // half of the time that systemd allows; 0 without a watchdog
}

// NewNotifier reads from the environment what systemd expects of this process.
func NewNotifier() (Notifier, error) {
	watchdog, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return Notifier{}, fmt.Errorf("the watchdog's time in the environment: %w; unset WATCHDOG_USEC, which systemd sets by WatchdogSec=", err)
	}
	return Notifier{interval: watchdog / 2}, nil
}

// Ready tells systemd that the program is ready, after its start.
func (n Notifier) Ready(status string) error {
	return n.send("ready", daemon.SdNotifyReady+"\n"+statusLine(status))
}

// Status sets the line that "systemctl status" shows.
func (n Notifier) Status(status string) error {
	return n.send("status", statusLine(status))
}

// Stopping tells systemd that the program is about to end.
func (n Notifier) Stopping(status string) error {
	return n.send("stopping", daemon.SdNotifyStopping+"\n"+statusLine(status))
}

// alive resets the watchdog.
func (n Notifier) alive() error {
	return n.send("watchdog", daemon.SdNotifyWatchdog)
}

// KeepAlive resets the watchdog twice in the time that systemd allows, each time if alive
// reports true, until ctx is done. It returns at once if there is no watchdog.
//
// If a notice cannot be sent, KeepAlive goes on: a later one may succeed, and if none
// does, systemd acts. The error is that of the last notice.
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
				err = n.alive()
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

// statusLine returns the assignment of a status. It replaces line breaks, which would
// begin another assignment, and invalid UTF-8, which systemd rejects.
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
