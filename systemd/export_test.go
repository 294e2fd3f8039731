package systemd

import "time"

// Interval is how often [Notifier.KeepAlive] resets the watchdog.
func (n Notifier) Interval() time.Duration { return n.interval }
