package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A Status is what a running watcher says of the node.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Map     string    `json:"map"`
	Started time.Time `json:"started"`
	// Looked is when the last look at the node began, so that it saw a map
	// that was written before; one that was written during a look may have
	// to wait for the next. Changed is when the node was changed last. Both
	// are zero where that was not yet.
	Looked  time.Time `json:"looked"`
	Changed time.Time `json:"changed,omitzero"`
	// InStep says that the node is as its map says.
	InStep   bool        `json:"in_step"`
	Sources  int         `json:"sources"`
	Pending  []node.Wait `json:"pending"`
	Draining []node.Wait `json:"draining"`
	// Held are removed sources that stay as they are until the map has been
	// still.
	Held []node.Wait `json:"held"`
	Left []node.Left `json:"left"`
	// Fault is why the map is not applied, "" where it is. What was applied
	// before stays then.
	Fault string `json:"fault,omitempty"`
	// Fights is as in [Report].
	Fights bool `json:"fights,omitempty"`
	// Deaf and Losses are as in [Hearing].
	Deaf   string `json:"deaf,omitempty"`
	Losses int    `json:"losses,omitempty"`
}

// A Board holds the status, for those who ask.
type Board struct {
	mu     sync.Mutex
	status Status
}

// NewBoard returns a board on which nothing has happened yet.
func NewBoard(version, mapFile string) *Board {
	return &Board{status: Status{
		Version: version, PID: os.Getpid(), Map: mapFile, Started: time.Now(),
		Pending: []node.Wait{}, Draining: []node.Wait{}, Held: []node.Wait{}, Left: []node.Left{},
	}}
}

// Post puts the outcome of a look on the board.
func (b *Board) Post(r Report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.status
	s.Looked = r.Began
	s.Fault, s.Fights = "", r.Fights
	if r.Err != nil {
		s.Fault, s.InStep = r.Err.Error(), false
		return
	}
	if len(r.Plan.Changes) > 0 && !r.Fights {
		s.Changed = time.Now()
	}
	s.Sources, s.Pending, s.Draining, s.Held, s.Left = r.Plan.Sources, r.Plan.Pending, r.Plan.Draining, r.Plan.Held, r.Plan.Left
	s.InStep = !r.Fights && len(s.Pending) == 0 && len(s.Draining) == 0 && len(s.Held) == 0 && len(s.Left) == 0
}

// Hear puts on the board how well changes of files are heard of.
func (b *Board) Hear(h Hearing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.status.Deaf, b.status.Losses = h.Deaf, h.Losses
}

// Status returns what is on the board.
func (b *Board) Status() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// Alive reports whether the node was looked at lately, or the watcher has just
// started.
func (b *Board) Alive(late time.Duration) bool {
	s := b.Status()
	last := s.Looked
	if last.IsZero() {
		last = s.Started
	}
	return time.Since(last) < late
}

// Line returns the status in a few words, for a service manager.
func (s Status) Line() string {
	switch {
	case s.Looked.IsZero():
		return "looking at the node"
	case s.Fault != "":
		return "the map is not applied: " + s.Fault
	case s.Fights:
		return "somebody else keeps changing our files"
	}
	return fmt.Sprintf("%d sources, %d pending, %d draining, %d held, %d left alone", s.Sources, len(s.Pending), len(s.Draining), len(s.Held), len(s.Left))
}

// maxSocketPath is how long the path of a socket may be (unix(7)).
const maxSocketPath = 107

// Listen listens on a unix socket that only its owner may ask. Its directory is
// made where it is missing, and what a killed watcher left of it is removed.
func Listen(socket string) (net.Listener, error) {
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("%s: the path of a socket has at most %d bytes; name a shorter one with --socket", socket, maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	info, err := os.Lstat(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("%s: a file that is no socket is in the way; move it, or name another path with --socket", socket)
	default:
		if conn, err := net.Dial("unix", socket); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s: another watcher answers there; stop it, or name another path with --socket", socket)
		}
		if err := os.Remove(socket); err != nil {
			return nil, err
		}
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// Serve answers each connection with the status as JSON, until ctx ends.
func (b *Board) Serve(ctx context.Context, listener net.Listener) error {
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				conn.Close()
			}
			return nil
		}
		if err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		_ = json.NewEncoder(conn).Encode(b.Status()) // who hung up is not told
		conn.Close()
	}
}

// Ask returns the status that the watcher on a socket gives.
func Ask(ctx context.Context, socket string) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if errors.Is(err, fs.ErrPermission) {
		return Status{}, fmt.Errorf("%s: permission denied; run this as root", socket)
	}
	if err != nil {
		return Status{}, fmt.Errorf("no watcher answers on %s; start it with: systemctl start mirrorcred", socket)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	data, err := io.ReadAll(conn)
	if err != nil {
		return Status{}, fmt.Errorf("%s: %w", socket, err)
	}
	var s Status
	if err := json.Unmarshal(data, &s); err != nil {
		return Status{}, fmt.Errorf("%s: the answer is no status; is it of another version?", socket)
	}
	return s, nil
}
