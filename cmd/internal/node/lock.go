package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// sayAfter is how long a run waits for the lock before it says so.
const sayAfter = time.Second

// Hold waits for the lock, and keeps it until release is called. It is for a caller
// that changes the node beside [Node.Apply], which may be called meanwhile.
func (n *Node) Hold(ctx context.Context) (release func(), err error) {
	unlock, err := n.lock(ctx, func() error { return nil })
	if err != nil {
		return nil, err
	}
	n.held = true
	return func() { n.held = false; unlock() }, nil
}

// lock waits for the lock of the one writer. The kernel releases it when the
// process ends. If it is not free at once, meanwhile is called once, and its
// error is joined to the one returned if the lock never gets free.
func (n *Node) lock(ctx context.Context, meanwhile func() error) (unlock func(), err error) {
	if err := n.checkRoot(); err != nil {
		return nil, err
	}
	if n.held {
		return func() {}, nil
	}
	f, err := n.openLock()
	if err != nil {
		return nil, errors.Join(err, meanwhile())
	}
	free, err := tryLock(f)
	if !free {
		found := meanwhile()
		if err == nil {
			err = n.wait(ctx, f)
		}
		if err != nil {
			f.Close()
			return nil, errors.Join(err, found)
		}
		n.recalls.uncover() // what the other one wrote may not be reported yet
	}
	return func() { f.Close() }, nil
}

// wait waits until the lock on f is this process's.
func (n *Node) wait(ctx context.Context, f *os.File) error {
	var late <-chan time.Time
	if n.LockTimeout > 0 {
		late = time.After(n.LockTimeout)
	}
	began, reported := time.Now(), n.OnWait == nil
	for {
		select {
		case <-ctx.Done():
			return &InterruptedError{}
		case <-late:
			return &fault.Fault{
				What: fmt.Sprintf("another mirrorcred%s holds the lock", holder(f)), Where: f.Name(),
				Fix: "wait for it, or end it", Until: "nothing is changed",
			}
		case <-time.After(50 * time.Millisecond):
		}
		if free, err := tryLock(f); free || err != nil {
			return err
		}
		if !reported && time.Since(began) >= sayAfter {
			reported = true
			n.OnWait(fmt.Sprintf("%s: waiting for another mirrorcred%s, which holds the lock", f.Name(), holder(f)))
		}
	}
}

// tryLock reports whether the lock on f is now this process's.
func tryLock(f *os.File) (free bool, err error) {
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, unix.EWOULDBLOCK):
		return false, nil
	}
	return false, describe(&fs.PathError{Op: "lock", Path: f.Name(), Err: err})
}

func (n *Node) openLock() (*os.File, error) {
	path := n.path(lockFile)
	if err := n.disk.tree.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, describe(err)
	}
	f, err := n.disk.tree.OpenLock(path)
	if err != nil {
		return nil, describe(err)
	}
	return f, nil
}
