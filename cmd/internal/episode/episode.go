// Package episode logs a fault that lasts: once when it begins and once when it ends, with
// what it was and for how long.
//
// It does not know what the fault is about. Start at [Episode].
package episode

import (
	"log/slog"
	"time"
)

// An Episode is one fault at a time. The zero Episode has none.
type Episode struct {
	fault string
	since time.Time
}

// Begins reports whether a fault is new, so that the caller logs it. If it comes after
// another one, it logs the end of that.
func (e *Episode) Begins(log *slog.Logger, fault string) bool {
	if fault == e.fault {
		return false
	}
	e.Ends(log, "fault over")
	e.fault, e.since = fault, time.Now()
	return true
}

// Ends logs that the fault is over, if there is one.
func (e *Episode) Ends(log *slog.Logger, message string) {
	if e.fault == "" {
		return
	}
	log.Info(message, "fault", e.fault, "after", Lasted(e.since))
	*e = Episode{}
}

// Lasted returns how long it is since a time, as exactly as a person wants to know it.
func Lasted(since time.Time) time.Duration {
	lasted := time.Since(since)
	if lasted >= time.Second {
		return lasted.Round(time.Second)
	}
	return lasted.Round(time.Millisecond)
}
