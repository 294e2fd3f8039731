package watch

import (
	"errors"
	"net"
	"sync"
	"syscall"
)

// mostScrapes is how many connections the metrics have at once. Any user of the
// machine can connect, and each connection takes a file descriptor and memory
// that reconciling needs. Further ones wait in the kernel.
const mostScrapes = 32

// A fewListener is a listener that bounds how many connections it has at once.
type fewListener struct {
	net.Listener
	slots chan struct{}
	ended chan struct{}
	once  sync.Once
}

func newFewListener(l net.Listener, most int) *fewListener {
	return &fewListener{Listener: l, slots: make(chan struct{}, most), ended: make(chan struct{})}
}

// Accept first waits for a connection to end if there are too many.
func (l *fewListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.ended:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &fewConn{Conn: conn, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

// Close also ends each waiting Accept.
func (l *fewListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return l.Listener.Close()
}

type fewConn struct {
	net.Conn
	release func()
}

func (c *fewConn) Close() error {
	defer c.release()
	return c.Conn.Close()
}

// isShortage reports whether Accept failed because the machine is short of
// something or the other end hung up: the next connection may still be
// accepted.
func isShortage(err error) bool {
	for _, one := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, one) {
			return true
		}
	}
	return false
}
