package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

const watchUsage = `Usage: mirrorcred watch [FLAGS]

Keeps this node in step with its mirror map for as long as it runs: it applies
the map when it changes, mends what was changed behind its back, finishes the
drains of removed mirrors, and goes on with new sources when the kubelet has
restarted. A map with a fault is reported, and what was applied before stays.

  --map FILE              the map (default /etc/mirrorcred/mirrors.toml)
  --root DIR              take all paths as below DIR
  --tick TIME             how often to look without an event (default 30s)
  --metrics-address ADDR  serve Prometheus metrics on /metrics and health on
                          /healthz at this loopback address, such as
                          127.0.0.1:9469 (default: not)
  --restart-kubelet       restart the kubelet when a new source needs it, and put
                          its old configuration back where it does not come up
  --kubelet-unit UNIT     the kubelet's unit (default: the one that it runs in, such
                          as kubelet.service or k3s.service)
  --restart-jitter TIME   wait a random while up to this before a restart, so
                          that nodes do not restart together (default 30s)
  --socket FILE           where "mirrorcred status" asks
                          (default /run/mirrorcred/status.sock below --root)
  -h, --help              print this text

It looks at once when it gets SIGHUP. The log goes to standard error.
`

// statusSocket is where the watcher answers for its status.
const statusSocket = "/run/mirrorcred/status.sock"

// restartStamp has the date of the last restart of the kubelet.
const restartStamp = "/run/mirrorcred/kubelet-restart"

// watchFlags are the flags of the command watch.
type watchFlags struct {
	mapFile, root, metrics, socket string
	tick                           time.Duration
	restart                        bool
	unit                           string
	jitter                         time.Duration
}

// runWatch is the command watch.
func runWatch(ctx context.Context, args []string, stdout io.Writer) error {
	var f watchFlags
	flags := pflag.NewFlagSet("watch", pflag.ContinueOnError)
	flags.StringVar(&f.mapFile, "map", "", "")
	flags.StringVar(&f.root, "root", "", "")
	flags.StringVar(&f.metrics, "metrics-address", "", "")
	flags.StringVar(&f.socket, "socket", "", "")
	flags.DurationVar(&f.tick, "tick", 30*time.Second, "")
	flags.BoolVar(&f.restart, "restart-kubelet", false, "")
	flags.StringVar(&f.unit, "kubelet-unit", "", "")
	flags.DurationVar(&f.jitter, "restart-jitter", 30*time.Second, "")
	if done, err := parse(flags, watchUsage, args, stdout); done || err != nil {
		return err
	}
	var err error
	if f.root, err = absolute(f.root); err != nil {
		return err
	}
	if f.socket == "" {
		f.socket = filepath.Join(f.root, "/", statusSocket)
	}
	if f.tick < time.Second {
		return fmt.Errorf("--tick=%s: write a time of 1s or more", f.tick)
	}
	return f.run(ctx, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// absolute returns a root as an absolute path, "" for the machine itself.
func absolute(root string) (string, error) {
	if root == "" {
		return "", nil
	}
	return filepath.Abs(root)
}

// run watches until ctx ends.
func (f watchFlags) run(ctx context.Context, log *slog.Logger) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := node.New(f.root, f.mapFile, false)
	board := watch.NewBoard(version, n.Map)
	metrics := watch.NewMetrics(board)
	events := watch.NewEvents(log)
	defer events.Close()

	told, err := newService(log)
	if err != nil {
		return err
	}
	late := 4*f.tick + 4*time.Minute // a restart of the kubelet takes its time
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	servers, err := f.serve(ctx, cancel, board, metrics, late)
	if err != nil {
		return err
	}
	stopHup := relay(ctx, hup, events)
	alive := told.keepAlive(ctx, board, late)
	restarts := watch.Restarts{Kubelet: &kubeletUnit{named: f.unit, node: n}, Jitter: f.jitter, Stamp: filepath.Join(f.root, restartStamp), Log: log}

	board.Hear(events.Watch(n.Watched()))
	log.Info("watching", "map", n.Map, "version", version)
	watch.New(n, events.Hints(), watch.Options{
		Tick: f.tick, Log: log,
		MapTime: func() time.Time { return modified(n.Map) },
		Done: func(r watch.Report) {
			board.Post(r)
			metrics.Observe(r)
			board.Hear(events.Watch(n.Watched()))
			told.tell(board.Status())
			if f.restart {
				restarts.Consider(ctx, r)
			}
			if len(r.Plan.Changes) == 0 {
				// The node is at rest, and all that the look allocated
				// is garbage.
				debug.FreeOSMemory()
			}
		},
	}).Run(ctx)

	err = context.Cause(ctx)
	cancel(nil)
	_ = told.Stopping("")
	stopHup()
	alive()
	servers()
	if errors.Is(err, context.Canceled) {
		log.Info("stopped")
		return nil
	}
	return err
}

// serve starts to answer for the status and, where asked for, the metrics. The
// function that it returns waits for both to end after ctx did. A server that
// fails ends ctx with its error.
func (f watchFlags) serve(ctx context.Context, cancel context.CancelCauseFunc, board *watch.Board, metrics *watch.Metrics, late time.Duration) (wait func(), err error) {
	done := make(chan struct{}, 2)
	start := func(serve func() error) {
		go func() {
			if err := serve(); err != nil {
				cancel(err)
			}
			done <- struct{}{}
		}()
	}
	socket, err := watch.Listen(f.socket)
	if err != nil {
		return nil, err
	}
	count := 1
	if f.metrics != "" {
		listener, err := listenLoopback(f.metrics)
		if err != nil {
			socket.Close()
			return nil, err
		}
		count++
		start(func() error { return metrics.Serve(ctx, listener, board, late) })
	}
	start(func() error { return board.Serve(ctx, socket) })
	return func() {
		for range count {
			<-done
		}
	}, nil
}

// listenLoopback listens on an address that only this machine can reach.
func listenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("--metrics-address=%s: write a host and a port, such as 127.0.0.1:9469", address)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("--metrics-address=%s: it is not a loopback address, and there is no access control; write 127.0.0.1:9469", address)
	}
	return net.Listen("tcp", address)
}

// relay turns signals into hints until ctx ends; the function that it returns
// waits for that.
func relay(ctx context.Context, signals <-chan os.Signal, events *watch.Events) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				events.Hint()
			}
		}
	}()
	return func() { <-done }
}

// modified returns when a file was last changed or put into its place, which
// unlike the time of its last write no copy keeps; the zero time where it
// cannot be known.
func modified(name string) time.Time {
	var stat unix.Stat_t
	if err := unix.Stat(name, &stat); err != nil {
		return time.Time{}
	}
	return time.Unix(stat.Ctim.Unix())
}
