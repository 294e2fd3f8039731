package watch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// maxSocketPath is how long the path of a socket may be (unix(7)).
const maxSocketPath = 107

// A socketListener listens in a directory, which it keeps open: the path of a
// socket is looked up again when the socket is removed.
type socketListener struct {
	*net.UnixListener
	close func() error
}

// Close ends the listener and removes its socket.
func (l socketListener) Close() error { return l.close() }

// Listen listens on a unix socket that only its owner may ask. Its directory is
// created if missing, and the socket of a killed watcher is removed. No link
// leads out of the root, nil for this machine's own.
func Listen(root *input.Root, socket string) (net.Listener, error) {
	tree := durable.Tree{Root: root}
	if err := tree.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
		return nil, err
	}
	dir, base, err := root.Parent(socket)
	if err != nil {
		return nil, err
	}
	listener, err := listenIn(tree, dir, base, socket)
	if err != nil {
		unix.Close(dir)
		return nil, err
	}
	return socketListener{listener, sync.OnceValue(func() error {
		return errors.Join(listener.Close(), unix.Close(dir))
	})}, nil
}

// listenIn listens on a name in an open directory.
func listenIn(tree durable.Tree, dir int, base, socket string) (*net.UnixListener, error) {
	at := fmt.Sprintf("/proc/self/fd/%d/%s", dir, base)
	if len(at) > maxSocketPath {
		return nil, fmt.Errorf("%s: the name of a socket has at most %d bytes; name a shorter one with --socket", socket, maxSocketPath-len(at)+len(base))
	}
	info, err := tree.Lstat(socket)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode()&fs.ModeSocket == 0:
		return nil, fmt.Errorf("%s: this file is not a socket; move it, or pass another path with --socket", socket)
	default:
		conn, err := net.DialTimeout("unix", at, time.Second)
		who := ""
		if err == nil {
			who = listenerOf(conn)
			conn.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) { // a busy watcher is alive
			return nil, fmt.Errorf("%s: another watcher%s runs there; stop it, or pass another path with --socket", socket, who)
		}
		if err := tree.Remove(socket); err != nil {
			return nil, err
		}
	}
	// The file gets the mode of the open socket from the start.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }), err)
	}}
	listener, err := config.Listen(context.Background(), "unix", at)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	return listener.(*net.UnixListener), nil
}

// listenerOf names the process that listens at the other end of a connection, such as
// " (process 4711)"; "" if it is in a PID namespace that is hidden from here
// (SO_PEERCRED in unix(7)).
func listenerOf(conn net.Conn) string {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return ""
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return ""
	}
	pid := 0
	if err := raw.Control(func(fd uintptr) {
		if peer, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(peer.Pid)
		}
	}); err != nil || pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", pid)
}

// A NoWatcherError says that no watcher listens on a socket.
type NoWatcherError struct{ Socket string }

// Error says where, and how one is started.
func (e *NoWatcherError) Error() string {
	return fmt.Sprintf("no watcher runs at %s; start it with: systemctl start mirrorcred", e.Socket)
}
