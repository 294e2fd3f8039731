package watch

import (
	"context"
	"net/http"
	"os"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
)

const (
	// mostFollowers is how many clients may follow the events at once.
	mostFollowers = 4
	// pollEvents is how often to look for new events. inotify instances are scarce
	// on a node, and the log of a pod may come a second late.
	pollEvents = time.Second
)

// An eventStream answers with the lines of the plugin's log, and then with each
// new one, until the client goes away. It takes the time after which to begin as
// since, in RFC 3339; the default is now.
type eventStream struct {
	ctx   context.Context // of the server
	log   func() string
	slots chan struct{}
}

// ServeHTTP implements [http.Handler].
func (s eventStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	since := time.Now()
	if text := r.URL.Query().Get("since"); text != "" {
		var err error
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			http.Error(w, "since is not a time; write it like 2006-01-02T15:04:05Z", http.StatusBadRequest)
			return
		}
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		http.Error(w, "too many clients follow the events; end one of them", http.StatusServiceUnavailable)
		return
	}
	f := follower{w: w, control: http.NewResponseController(w), since: since}
	defer f.close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	for f.flush() == nil {
		if err := f.next(s.log()); err != nil {
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-r.Context().Done():
			return
		case <-time.After(pollEvents):
		}
	}
}

// A follower sends one client the events.
type follower struct {
	w       http.ResponseWriter
	control *http.ResponseController
	since   time.Time

	path string
	log  *audit.Log
	seen os.FileInfo // of the log when it was last read
}

// next sends the new events of the log at a path.
func (f *follower) next(path string) error {
	if path != f.path {
		f.close()
		f.path = path
	}
	info, err := os.Stat(path)
	if path == "" || err != nil || f.isSeen(info) {
		return nil // there is no log yet, or nothing new in it
	}
	if f.log == nil {
		f.log = audit.Open(nil, path)
	}
	f.seen = info
	return f.log.Next(f.send)
}

// isSeen reports whether a log has not changed since it was read.
func (f *follower) isSeen(info os.FileInfo) bool {
	return f.seen != nil && os.SameFile(f.seen, info) && f.seen.Size() == info.Size() && f.seen.ModTime().Equal(info.ModTime())
}

// send sends a line of the log if it is new.
func (f *follower) send(line []byte) error {
	e, ok := audit.Decode(line)
	if !ok || !e.Time.After(f.since) {
		return nil
	}
	if err := f.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := f.w.Write(append(line[:len(line):len(line)], '\n'))
	return err
}

// flush sends what was written. The client must read it in time.
func (f *follower) flush() error {
	if err := f.control.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return f.control.Flush()
}

func (f *follower) close() {
	if f.log != nil {
		f.log.Close()
		f.log = nil
	}
	f.seen = nil
}
