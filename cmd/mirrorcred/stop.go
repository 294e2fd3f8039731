package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
)

// A stopped says which signal ended a command early.
type stopped struct {
	signal syscall.Signal
	err    error // the command's own error; nil as the cause of a context
}

func (s stopped) Error() string {
	if s.err == nil {
		return s.signal.String()
	}
	return s.err.Error()
}

// Unwrap returns context.Canceled for the cause of a context.
func (s stopped) Unwrap() error { return context.Canceled }

// code is the exit code that a shell reports for a program that the signal
// ended.
func (s stopped) code() int { return 128 + int(s.signal) }

// untilSignal returns a context that SIGINT and SIGTERM end. Further ones have
// no effect. Commands that only read leave both signals to the kernel. A signal
// that the parent process ignored stays ignored, as for nohup.
func untilSignal(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			cancel(stopped{signal: s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-done
	}
}

// bySignal names the signal in an error that it caused.
func bySignal(ctx context.Context, err error) error {
	var s stopped
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &s) {
		return stopped{s.signal, err}
	}
	return err
}

// interrupted returns an error with that text if a signal has ended ctx, and nil
// otherwise.
func interrupted(ctx context.Context, text string) error {
	var s stopped
	if ctx.Err() == nil || !errors.As(context.Cause(ctx), &s) {
		return nil
	}
	return stopped{s.signal, errors.New(text)}
}
