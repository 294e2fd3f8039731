package watch

import (
	"errors"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// FileWatching says how well file changes are noticed.
type FileWatching struct {
	// Degraded is why some changes are only noticed at the next tick, "" if all
	// are noticed at once.
	Degraded string
	// Dropped is how often the system dropped events.
	Dropped int
}

// note records why not every change is noticed, nil if each is, and logs what
// is new.
func (e *Events) note(err error) {
	reason := ""
	if err != nil {
		reason = err.Error() + remedy(err)
	}
	switch {
	case reason == "":
		e.degraded.Ends(e.log, "file watching works again")
	case e.degraded.Begins(e.log, reason):
		e.log.Warn("file watching degraded; polling for some changes", "reason", reason)
	}
	e.watching.Degraded = reason
}

// remedy says what to do if a limit of the system was hit (inotify(7)).
func remedy(err error) string {
	switch {
	case errors.Is(err, fsnotify.ErrEventOverflow):
		return "; raise fs.inotify.max_queued_events"
	case errors.Is(err, unix.ENOSPC):
		return "; raise fs.inotify.max_user_watches"
	case errors.Is(err, unix.EMFILE):
		return "; raise fs.inotify.max_user_instances"
	}
	return ""
}
