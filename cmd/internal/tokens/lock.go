package tokens

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock waits until this run alone fetches for a key, and returns what ends
// that. The kernel ends it too, when the process dies.
func (c *Cache) lock(ctx context.Context, key Key) (release func(), err error) {
	path := c.path(key) + lockSuffix
	ctx, cancel := patience(ctx)
	defer cancel()
	waited := fmt.Errorf("another run holds %s for too long; it is not waited for", path)
	if ctx.Err() != nil {
		return nil, waited // nobody is left behind to make a lock
	}
	type locked struct {
		file *os.File
		err  error
	}
	done := make(chan locked)
	// flock listens to no context. Where the wait is given up, the goroutine
	// is left behind, and lets go of the lock as soon as it has it.
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
		f, err := openFile(path, os.O_RDWR|os.O_CREATE)
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

func wait(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
