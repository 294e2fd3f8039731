package watch

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Client asks a watcher by its socket. No link leads out of the root, nil for
// this machine's own.
type Client struct {
	Socket string
	Root   *input.Root
}

const (
	// answerTime is how long an answer may take.
	answerTime = 5 * time.Second
	// maxAnswer is the longest answer that is read, in bytes: 10,000 pending
	// sources are a few MiB.
	maxAnswer = 64 << 20
)

// ReadStatus returns the status of the watcher on a socket.
func ReadStatus(ctx context.Context, root *input.Root, socket string) (Status, error) {
	return Client{socket, root}.Status(ctx)
}

// Status returns the watcher's status.
func (c Client) Status(ctx context.Context) (Status, error) {
	var s Status
	err := c.get(ctx, "/status", func(r io.Reader) error {
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, &s); err != nil {
			return c.unknown()
		}
		return nil
	})
	return s, err
}

// Metrics copies the watcher's metrics, as Prometheus reads them.
func (c Client) Metrics(ctx context.Context, w io.Writer) error {
	return c.get(ctx, "/metrics", func(r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	})
}

func (c Client) get(ctx context.Context, path string, read func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	body, err := c.open(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	return read(io.LimitReader(body, maxAnswer))
}

// Events calls f with each line that the plugin logs after a time, until ctx ends
// or the watcher does.
func (c Client) Events(ctx context.Context, since time.Time, f func(audit.Event, []byte)) error {
	body, err := c.open(ctx, "/events?since="+url.QueryEscape(since.Format(time.RFC3339Nano)))
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		if e, ok := audit.Decode(lines.Bytes()); ok {
			f(e, lines.Bytes())
		}
	}
	return lines.Err()
}

// open asks for a path and returns the answer.
func (c Client) open(ctx context.Context, path string) (io.ReadCloser, error) {
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dial(ctx, c.Root, c.Socket)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://mirrorcred"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := transport.RoundTrip(r)
	var noConn *dialError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s: permission denied; run this as root", c.Socket)
	case errors.As(err, &noConn):
		return nil, &NoWatcherError{c.Socket}
	case err != nil && ctx.Err() == nil:
		return nil, c.unknown()
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.Socket, ctx.Err())
	case answer.StatusCode != http.StatusOK:
		answer.Body.Close()
		return nil, fmt.Errorf("%s: the watcher answers %s to %s; restart it if it is of another version: systemctl restart mirrorcred", c.Socket, answer.Status, r.URL.Path)
	}
	return answer.Body, nil
}

// A dialError says that there is no connection.
type dialError struct{ error }

// Unwrap returns why.
func (e *dialError) Unwrap() error { return e.error }

func (c Client) unknown() error {
	return fmt.Errorf("%s: unknown answer; restart the watcher if it is of another version: systemctl restart mirrorcred", c.Socket)
}

// dial connects to the socket that a path leads to.
func dial(ctx context.Context, root *input.Root, socket string) (net.Conn, error) {
	fd, err := root.OpenFD(socket, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	return new(net.Dialer).DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
}
