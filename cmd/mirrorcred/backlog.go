package main

import (
	"context"
	"io"
	"sync"
	"time"
)

// A backlog prints without waiting: the reader of the output, such as a pager,
// may stall, and meanwhile a node must not stay half changed and locked.
type backlog struct {
	mu   sync.Mutex
	text []byte        // not written yet
	more chan struct{} // has an element if there is text
	done chan struct{} // closed when all is written
	err  error         // of the writer; read it after done
	// width is how many columns its lines have.
	width int
}

// newBacklog returns a backlog that writes to w until [backlog.Close].
func newBacklog(w io.Writer) *backlog {
	b := &backlog{more: make(chan struct{}, 1), done: make(chan struct{}), width: widthOf(w)}
	go func() {
		defer close(b.done)
		for range b.more {
			b.mu.Lock()
			text := b.text
			b.text = nil
			b.mu.Unlock()
			if b.err == nil {
				_, b.err = w.Write(text)
			}
		}
	}()
	return b
}

// Write implements [io.Writer]. It never fails; see [backlog.Close].
func (b *backlog) Write(text []byte) (int, error) {
	b.mu.Lock()
	b.text = append(b.text, text...)
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return len(text), nil
}

// grace is how long the rest may take to be written once a run was told to stop.
const grace = time.Second

// Close waits until all is written, and returns the writer's error. Once ctx
// has ended it waits only for a moment.
func (b *backlog) Close(ctx context.Context) error {
	close(b.more)
	select {
	case <-b.done:
		return b.err
	case <-ctx.Done():
	}
	select {
	case <-b.done:
		return b.err
	case <-time.After(grace):
		return nil
	}
}
