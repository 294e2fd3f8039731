package watch

import (
	"errors"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// A Hearing says how well changes of files are heard of.
type Hearing struct {
	// Deaf is why some are noticed at the next tick only, "" where all are
	// noticed at once.
	Deaf string
	// Losses is how often events were lost.
	Losses int
}

// hear takes down why not everything is heard of, nil where it is, and logs
// what is new in that.
func (e *Events) hear(err error) {
	deaf := ""
	if err != nil {
		deaf = err.Error() + remedy(err)
	}
	switch {
	case deaf != "" && e.hearing.Deaf == "":
		e.log.Warn("not all changes of files are noticed at once; the others are at the next tick", "reason", deaf)
	case deaf == "" && e.hearing.Deaf != "":
		e.log.Info("changes of files are noticed at once again")
	}
	e.hearing.Deaf = deaf
}

// remedy says what to do where a limit of the system was met (inotify(7)).
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
