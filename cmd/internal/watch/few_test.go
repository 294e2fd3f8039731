package watch

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestConnectionsLimited takes all connections to the metrics: no more are accepted than
// allowed, and one is free when they end.
func TestConnectionsLimited(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := NewStatusStore("", "")
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	accepted := make(chan net.Conn, 1000)
	go func() {
		served <- newServer(s, NewMetrics(s, noLog, isArmed)).ServeMetrics(ctx, &counted{listener, accepted})
	}()
	var crowd []net.Conn
	for range mostScrapes + 20 {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		crowd = append(crowd, conn)
	}
	for range mostScrapes {
		<-accepted
	}
	select {
	case <-accepted:
		t.Errorf("more than %d connections are accepted", mostScrapes)
	case <-time.After(50 * time.Millisecond):
	}
	for _, conn := range crowd {
		conn.Close()
	}
	response, err := http.Get("http://" + listener.Addr().String() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err := io.ReadAll(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("after the crowd: %s %s, %v", response.Status, text, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve = %v", err)
	}
}

// counted reports each accepted connection.
type counted struct {
	net.Listener
	accepted chan net.Conn
}

func (l *counted) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.accepted <- conn
	}
	return conn, err
}

// TestCloseWhileLimited closes a listener while it waits for a connection to end.
func TestCloseWhileLimited(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	few := newFewListener(listener, 1)
	if _, err := net.Dial("unix", listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn, err := few.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	waits := make(chan error)
	go func() {
		_, err := few.Accept()
		waits <- err
	}()
	few.Close()
	if err := <-waits; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept = %v; want net.ErrClosed", err)
	}
}

// TestOutOfDescriptors runs out of file descriptors for a while: a request for the
// status waits, and the watcher goes on.
func TestOutOfDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		full := &poor{errs: []error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED}, conns: make(chan net.Conn, 1), ended: make(chan struct{})}
		ours, theirs := net.Pipe()
		full.conns <- theirs
		if err := ours.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- socketServer(NewStatusStore("1.2.3", "")).ServeSocket(ctx, full) }()
		if _, err := io.WriteString(ours, "GET /status HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(ours); err != nil || len(text) == 0 {
			t.Errorf("the answer is %q, %v", text, err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
}

// A poor listener fails at first.
type poor struct {
	errs  []error
	conns chan net.Conn
	ended chan struct{}
}

func (l *poor) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", err)}
	}
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

func (l *poor) Close() error   { close(l.ended); return nil }
func (l *poor) Addr() net.Addr { return &net.UnixAddr{Name: "poor"} }
