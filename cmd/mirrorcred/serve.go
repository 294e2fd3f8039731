package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// serve starts to serve the status and, if wanted, the metrics. The
// function that it returns waits for both to end after ctx did. A server that
// fails ends ctx with its error.
func (f watchFlags) serve(ctx context.Context, cancel context.CancelCauseFunc, server watch.Server) (wait func(), err error) {
	done := make(chan struct{}, 2)
	start := func(serve func() error) {
		go func() {
			if err := serve(); err != nil {
				cancel(err)
			}
			done <- struct{}{}
		}()
	}
	socket, err := watch.Listen(input.NewRoot(f.root), f.socket)
	if err != nil {
		return nil, err
	}
	count := 1
	if f.metrics != "" {
		listener, err := listenLoopback(f.metrics)
		if err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			socket.Close()
			return nil, err
		}
		count++
		start(func() error {
			if listener == nil {
				listener = f.untilFree(ctx)
			}
			if listener == nil {
				return nil
			}
			return server.ServeMetrics(ctx, listener)
		})
	}
	start(func() error { return server.ServeSocket(ctx, socket) })
	return func() {
		for range count {
			<-done
		}
	}, nil
}

// portCheck is how often a port is tried that another program has.
const portCheck = time.Second

// untilFree listens for the metrics once no other program does, or returns nil
// when ctx has ended. Any user can take the port first, and that must not stop
// the watcher.
func (f watchFlags) untilFree(ctx context.Context) net.Listener {
	var busy episode.Episode
	fault := fmt.Sprintf("--metrics-address=%s: another program listens there; find it with: ss -tlnp, and stop it, or name another port", f.metrics)
	if busy.Begins(f.log, fault) {
		f.log.Error("metrics not served", "error", fault)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(portCheck):
		}
		if listener, err := listenLoopback(f.metrics); err == nil {
			busy.Ends(f.log.With("address", f.metrics), "metrics served")
			return listener
		}
	}
}

// listenLoopback listens on an address that only this machine can reach.
func listenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--metrics-address=%s: write a host and a port, such as 127.0.0.1:9469", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--metrics-address=%s is not a loopback address, and there is no access control; write 127.0.0.1:9469", address)
	}
	return net.Listen("tcp", address)
}
