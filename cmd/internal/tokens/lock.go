package tokens

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock waits until only this run fetches for a key, and returns what releases
// the lock. The kernel releases it too, when the process dies.
func (f files) lock(ctx context.Context, key Key) (release func(), err error) {
	path := f.path(key) + lockSuffix
	ctx, cancel := patience(ctx)
	defer cancel()
	waited := errWaited(path)
	if ctx.Err() != nil {
		return nil, waited // no goroutine is left behind to create a lock
	}
	type locked struct {
		file *os.File
		err  error
	}
	done := make(chan locked)
	// flock takes no context. If the wait is given up, the goroutine stays behind,
	// and releases the lock as soon as it has it.
	go func() {
		f, err := flock(path)
		select {
		case done <- locked{f, err}:
		case <-ctx.Done():
			if err == nil {
				f.Close()
			}
		}
	}()
	select {
	case l := <-done:
		if l.err != nil {
			return nil, l.err
		}
		return func() { l.file.Close() }, nil
	case <-ctx.Done():
		return nil, waited
	}
}

// errWaited is the error of a lock that was not released in time.
func errWaited(name string) error {
	return fmt.Errorf("another run holds %s for too long; this run goes on without it", name)
}

// patience ends when two thirds of the time that ctx has left are over.
func patience(ctx context.Context) (context.Context, context.CancelFunc) {
	end, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(end)*2/3)
}

// flock returns a lock file that is locked and still in its place: prune may
// have removed the one that was waited for.
func flock(path string) (*os.File, error) {
	for {
		f, err := openLock(path, os.O_CREATE)
		if err != nil {
			return nil, err
		}
		if err := wait(f); err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		mine, err := f.Stat()
		there, errThere := os.Lstat(path)
		if err == nil && errThere == nil && os.SameFile(mine, there) {
			return f, nil
		}
		f.Close()
	}
}

// openLock opens a lock file, which must be regular and belong to this user. It
// follows no link, and does not wait for a FIFO. Nothing is read.
func openLock(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags|os.O_RDWR|noFollow|noWait, 0o600)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a symbolic link, and is not used", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file, and is not used", path)
	default:
		err = checkOwner(path, info)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
