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

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

const watchUsage = `Usage: mirrorcred watch [FLAGS]

Keeps this node in sync with its mirror map: it applies the map when it changes,
repairs drift, finishes the drains of removed mirrors, and activates new sources
once the kubelet has restarted. A map with a fault is reported, and what was
applied before stays.

  --map FILE              the map (default /etc/mirrorcred/mirrors.toml, or else
                          /etc/mirrorcred/delivered/mirrors.toml)
  --root DIR              all paths are below DIR
  --tick TIME             reconcile at least this often (default 30s)
  --metrics-address ADDR  serve Prometheus metrics on /metrics and health on
                          /healthz at this loopback address, such as
                          127.0.0.1:9469 (default: none)
  --no-kubelet            no kubelet runs, if that cannot be seen from here
  --restart-kubelet       restart the kubelet when a new source needs it, and
                          roll back if it does not start
  --kubelet-unit UNIT     the kubelet's unit (default: the one that it runs in, such
                          as kubelet.service or k3s.service)
  --restart-jitter TIME   wait a random time up to this before a restart, so
                          that nodes do not restart together (default 30s)
  --socket FILE           the socket that "mirrorcred status" connects to
                          (default /run/mirrorcred/status/status.sock below
                          --root)
  -h, --help              print this text

SIGHUP triggers a reconcile. The log goes to standard error.
`

// statusSocket is where the watcher serves its status, metrics and events. It has
// a directory of its own, which a pod may have without the tokens beside it.
const statusSocket = "/run/mirrorcred/status/status.sock"

// restartStamp has the time of the last restart of the kubelet.
const restartStamp = "/run/mirrorcred/kubelet-restart"

// otherWait is how long another mirrorcred may hold the lock before that is a
// fault.
const otherWait = 15 * time.Second

// watchFlags are the flags of the command watch.
type watchFlags struct {
	mapFile, root, metrics, socket string
	tick                           time.Duration
	restart, noKubelet             bool
	unit                           string
	jitter                         time.Duration

	log *slog.Logger
}

// runWatch is the command watch.
func runWatch(ctx context.Context, args []string, stdout io.Writer) error {
	var f watchFlags
	flags := pflag.NewFlagSet("watch", pflag.ContinueOnError)
	flags.StringVar(&f.mapFile, "map", "", "")
	flags.String("root", "", "")
	flags.StringVar(&f.metrics, "metrics-address", "", "")
	flags.StringVar(&f.socket, "socket", "", "")
	flags.DurationVar(&f.tick, "tick", 30*time.Second, "")
	flags.BoolVar(&f.restart, "restart-kubelet", false, "")
	flags.BoolVar(&f.noKubelet, "no-kubelet", false, "")
	flags.StringVar(&f.unit, "kubelet-unit", "", "")
	flags.DurationVar(&f.jitter, "restart-jitter", watch.DefaultJitter, "")
	if done, err := parse(flags, watchUsage, args, stdout); done || err != nil {
		return err
	}
	var err error
	if f.root, err = rootFlag(flags); err != nil {
		return err
	}
	if f.socket == "" {
		f.socket = filepath.Join(f.root, "/", statusSocket)
	}
	if f.tick < time.Second {
		return fmt.Errorf("--tick=%s is too short; write 1s or more", f.tick)
	}
	f.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	return f.run(ctx)
}

// run watches until ctx ends.
func (f watchFlags) run(ctx context.Context) error {
	log := f.log
	ctx, stop := untilSignal(ctx)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	n := node.New(f.root, f.mapFile, false)
	n.NoKubelet, n.LockTimeout = f.noKubelet, otherWait
	root := input.NewRoot(f.root)
	store := watch.NewStatusStore(version, n.Map)
	if f.restart {
		store.SetRestartKubelet()
	}
	logOf := func(auditLog string) string { return pluginLog(root, f.root, auditLog) }
	metrics := watch.NewMetrics(store, logOf)
	events := watch.NewEvents(log)
	events.Root = f.root
	defer events.Close()

	told, err := newService(log)
	if err != nil {
		return err
	}
	late := 4*f.tick + 4*time.Minute // a restart of the kubelet takes a while
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	servers, err := f.serve(ctx, cancel, watch.Server{Store: store, Metrics: metrics, Late: late, Log: func() string { return logOf(store.AuditLog()) }})
	if err != nil {
		return err
	}
	stopHup := relay(ctx, hup, func() {
		log.Info("reconcile requested", "signal", "SIGHUP")
		events.Hint()
	})
	alive := told.keepAlive(ctx, store, late)
	restarts := watch.Restarts{Kubelet: &kubeletUnit{named: f.unit, node: n}, Jitter: f.jitter, Stamp: filepath.Join(f.root, "/", restartStamp), Root: root, Unable: store.SetNoRestart, Log: log}

	store.SetFileWatching(events.Watch(n.Watched()))
	log.Info("watching", "map", n.Map, "version", version)
	watch.New(n, events.Hints(), watch.Options{
		Tick: f.tick, Log: log,
		MapTime: func() time.Time { return modified(root, n.Map) },
		Done: func(r watch.Report) {
			before := store.Status().Map
			r.Source = n.Source()
			store.Record(r)
			if s := store.Status(); s.Map != before {
				log.Info("another map counts", "map", s.Map, "delivered", s.Delivered)
			}
			metrics.Observe(r)
			store.SetFileWatching(events.Watch(n.Watched()))
			told.tell(store.Status())
			if f.restart {
				restarts.Consider(ctx, r)
			}
			if len(r.Plan.Changes) == 0 {
				debug.FreeOSMemory() // what the reconcile allocated is garbage now
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

// pluginLog returns the path of the plugin's log for an audit_log of the map, ""
// if it is no file.
func pluginLog(root *input.Root, dir, auditLog string) string {
	if auditLog == "" {
		auditLog = audit.DefaultFile
	}
	if !filepath.IsAbs(auditLog) {
		return "" // the journal, another socket, or none
	}
	path, err := root.Resolve(filepath.Join(dir, auditLog))
	if err != nil {
		return ""
	}
	return path
}

// portCheck is how often a port is tried that another program has.
const portCheck = time.Second

// untilFree listens for the metrics once no other program does, or returns nil
// when ctx has ended. Any user can take the port first, and that must not stop
// the watcher.
func (f watchFlags) untilFree(ctx context.Context) net.Listener {
	f.log.Error("metrics not served", "error", fmt.Sprintf("--metrics-address=%s: another program listens there; find it with: ss -tlnp, and stop it, or name another port", f.metrics))
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(portCheck):
		}
		if listener, err := listenLoopback(f.metrics); err == nil {
			f.log.Info("metrics served", "address", f.metrics)
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

// relay calls request for each signal until ctx ends; the returned function
// waits for that.
func relay(ctx context.Context, signals <-chan os.Signal, request func()) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
				request()
			}
		}
	}()
	return func() { <-done }
}

// modified returns when a file was last changed or moved into place. Copying
// cannot preserve that time, unlike the time of the last write. It is the zero
// time if unknown.
func modified(root *input.Root, name string) time.Time {
	info, err := root.Stat(name)
	if err != nil {
		return time.Time{}
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return time.Time{}
	}
	return time.Unix(stat.Ctim.Unix())
}
