package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
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

Example:
  mirrorcred watch --restart-kubelet --metrics-address=127.0.0.1:9469
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

// A watching is a watcher that runs.
type watching struct {
	watchFlags
	node     *node.Node
	root     *input.Root
	store    *watch.StatusStore
	metrics  *watch.Metrics
	events   *watch.Events
	service  *service
	restarts watch.Restarts
}

// newWatching returns a watcher for the node that the flags name.
func newWatching(f watchFlags) (*watching, error) {
	w := &watching{watchFlags: f, node: node.New(f.root, f.mapFile, false), root: input.NewRoot(f.root), events: watch.NewEvents(f.log)}
	w.node.NoKubelet, w.node.LockTimeout, w.node.Remember = f.noKubelet, otherWait, f.tick
	w.store = watch.NewStatusStore(version, w.node.Map)
	if f.restart {
		w.store.SetRestartKubelet()
	}
	w.metrics = watch.NewMetrics(w.store, w.pluginLog, w.armed)
	w.events.Root, w.events.Trust = f.root, f.tick
	w.node.Changes = w.events
	w.restarts = watch.Restarts{
		Kubelet: &kubeletUnit{named: f.unit, node: w.node}, Jitter: f.jitter, Stamp: filepath.Join(f.root, "/", restartStamp),
		Root: w.root, Unable: w.store.SetNoRestart, Ended: w.metrics.CountRestart, Log: f.log,
	}
	var err error
	if w.service, err = newService(f.log); err != nil {
		w.events.Close()
		return nil, err
	}
	return w, nil
}

// armed reports whether the plugin may return credentials for the mirrors in a
// hosts_dir, as it decides that itself.
func (w *watching) armed(hostsDir string) bool {
	root := w.watchFlags.root
	return armed.Stopped(root) == nil && armed.Check(root, routesDir, hostsDir) == nil
}

// pluginLog is [pluginLog] for the node.
func (w *watching) pluginLog(auditLog string) string {
	return pluginLog(w.root, w.watchFlags.root, auditLog)
}

// server returns what serves the status, the metrics and the plugin's log.
func (w *watching) server(late time.Duration) watch.Server {
	return watch.Server{Store: w.store, Metrics: w.metrics, Late: late, Log: func() string { return w.pluginLog(w.store.AuditLog()) }}
}

// run watches until ctx ends.
func (f watchFlags) run(ctx context.Context) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w, err := newWatching(f)
	if err != nil {
		return err
	}
	defer w.events.Close()
	late := 4*f.tick + 4*time.Minute // a restart of the kubelet takes a while
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	servers, err := f.serve(ctx, cancel, w.server(late))
	if err != nil {
		return err
	}
	stopHup := relay(ctx, hup, func() {
		f.log.Info("reconcile requested", "signal", "SIGHUP")
		w.events.Hint()
	})
	alive := w.service.keepAlive(ctx, w.store, late)

	w.reconcile(ctx)

	err = context.Cause(ctx)
	cancel(nil)
	_ = w.service.Stopping("")
	stopHup()
	alive()
	servers()
	if errors.Is(err, context.Canceled) {
		f.log.Info("stopped")
		return nil
	}
	return err
}

// reconcile keeps the node in sync with its map until ctx ends.
func (w *watching) reconcile(ctx context.Context) {
	w.store.SetFileWatching(w.events.Watch(w.node.Watched()))
	w.log.Info("watching", "map", w.node.Map, "version", version)
	rest := watch.NewRest()
	defer rest.Stop()
	watch.New(w.node, w.events.Hints(), watch.Options{
		Tick: w.tick, Log: w.log,
		MapTime: func() time.Time { return modified(w.root, w.node.Map) },
		Done: func(r watch.Report) {
			before := w.store.Status().Map
			r.Source = w.node.Source()
			w.store.SetDeliveries(watch.ReadDeliveries(filepath.Join(w.watchFlags.root, "/", handover.Dir), w.node.DeliveryKeys()))
			w.store.Record(r)
			if s := w.store.Status(); s.Map != before {
				w.log.Info("now using another map", "map", s.Map, "delivered", s.Delivered)
			}
			w.metrics.Observe(r)
			w.store.SetFileWatching(w.events.Watch(w.node.Watched()))
			w.service.tell(w.store.Status())
			if w.restart {
				w.restarts.Consider(ctx, r)
			}
			rest.Begin(len(r.Plan.Changes) == 0)
		},
	}).Run(ctx)
}

// pluginLog returns the path of the plugin's log for an audit_log of the map, ""
// if it is not a file.
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
