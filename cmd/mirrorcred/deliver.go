package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/ready"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

const deliverUsage = `Usage: mirrorcred deliver [FLAGS]

Asks registries for "mirrorcred watch", which has no network: it fetches the
credentials that the map delivers with deliver = "hosts", tries each at its
registry, and renews it before it expires. The watcher then writes it into
hosts.toml. It runs until the map needs it no longer; systemd starts it again
when the map does (mirrorcred-deliver.path).

      --once      ask once for what is due, print the result, and end
  -n, --dry-run   ask nothing and change nothing; print what --once would ask for
      --map FILE  the map (default /etc/mirrorcred/mirrors.toml, or else
                  /etc/mirrorcred/delivered/mirrors.toml)
  -h, --help      print this text

Exit code: 0 the map needs it no longer, or --once has all credentials; 1 an
error, or a registry has no credential. The log goes to standard error, and has
no secret.

Example:
  mirrorcred deliver -n         # look first
  mirrorcred deliver --once
`

// deliverLock is held by the process that asks registries. It is in one of the two
// directories that mirrorcred-deliver.service can write.
const deliverLock = handover.Dir + "/lock"

// errDelivering says that another process asks the registries.
var errDelivering = errors.New("another \"mirrorcred deliver\" runs, and does this; see: systemctl status mirrorcred-deliver")

// runDeliver is the command deliver.
func runDeliver(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("deliver", pflag.ContinueOnError)
	once := flags.Bool("once", false, "")
	dryRun := flags.BoolP("dry-run", "n", false, "")
	mapFile := flags.String("map", "", "")
	if done, err := parse(flags, deliverUsage, args, stdout); done || err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	d := newDelivery(node.New("", *mapFile, false), slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if *dryRun {
		return d.printDue(stdout)
	}
	unlock, err := d.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if !*once {
		return d.run(ctx)
	}
	results, err := d.once(ctx)
	if err != nil {
		return bySignal(ctx, err)
	}
	return errors.Join(printDelivered(stdout, results), bySignal(ctx, failedDelivery(results)))
}

// failedDelivery returns exit code 1 if a registry has no newer credential.
func failedDelivery(results []deliver.Result) error {
	for _, r := range results {
		if r.Err != nil {
			return exit(1)
		}
	}
	return nil
}

// printDue prints what one pass would ask for.
func (d *delivery) printDue(w io.Writer) error {
	m, err := d.node.ReadMap()
	if err != nil {
		return err
	}
	list := d.wanted(m)
	due := d.deliverer.Due(list)
	p := printer{w: w}
	if len(list) == 0 {
		p.printf("the map delivers no credential into hosts.toml, so there is nothing to fetch\n")
	}
	for _, one := range list {
		v, err := d.deliverer.Store.Value(one.Key)
		next := "stays"
		if due[one.Key] {
			next = "would be fetched, and tried at the registry"
		}
		p.printf("%s  credential %s: %s; %s\n", one.Target, one.Credential.Name, stateOf(v), next)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			p.printf("  %v\n", err)
		}
	}
	return p.err
}

// stateOf says until when a delivered credential holds.
func stateOf(v handover.Value) string {
	switch {
	case v.Authorization == "":
		return "not delivered"
	case v.Ended(time.Now()):
		return "expired " + v.Until.UTC().Format(time.RFC3339)
	case !v.Until.IsZero():
		return "delivered, until " + v.Until.UTC().Format(time.RFC3339)
	}
	return "delivered, does not expire"
}

// printDelivered prints until when each credential holds.
func printDelivered(w io.Writer, results []deliver.Result) error {
	p := printer{w: w}
	for _, r := range results {
		p.printf("%s  credential %s: %s\n", r.Want.Target, r.Want.Credential.Name, stateOf(r.Value))
		if r.Err != nil {
			p.printf("  %v\n", r.Err)
		}
	}
	return p.err
}

// lock makes this process the one that asks, or returns errDelivering.
func (d *delivery) lock() (unlock func(), err error) {
	tree := durable.Tree{Root: d.root}
	path := filepath.Join(d.node.Root, "/", deliverLock)
	if err := errors.Join(tree.MkdirAll(filepath.Join(d.node.Root, "/", plan.StateDir), 0o755), tree.MkdirAll(filepath.Dir(path), 0o700)); err != nil {
		return nil, err
	}
	f, err := tree.OpenLock(path)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errDelivering
		}
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}

const (
	// deliverQuiet is how long no file event must come before the map is read.
	deliverQuiet = 100 * time.Millisecond
	// deliverTick is how often it is read without one.
	deliverTick = 30 * time.Second
)

// run asks registries until ctx ends or the map needs that no longer.
func (d *delivery) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	notifier, err := systemd.NewNotifier()
	if err != nil {
		cancel()
		return err
	}
	var alive atomic.Int64 // when the loop last ran, in seconds
	alive.Store(time.Now().Unix())
	d.deliverer.Changed = func(s deliver.Summary) { _ = notifier.Status(s.Line()) }
	events := watch.NewEvents(d.log)
	defer events.Close()
	wants, done := make(chan []deliver.Want), make(chan struct{})
	go func() {
		defer close(done)
		d.deliverer.Run(ctx, wants)
	}()
	defer func() { cancel(); <-done }()
	asks := asking{Options: ready.Options{Root: d.node.Root, Proxy: d.proxy, Log: d.log}}
	defer asks.end()
	go func() {
		_ = notifier.KeepAlive(ctx, func() bool { return time.Now().Unix()-alive.Load() < int64(4*deliverTick/time.Second) })
	}()
	events.Watch(d.watched(nil))
	d.log.Info("delivering", "map", d.node.Map, "version", version)
	isReady := false
	for {
		alive.Store(time.Now().Unix())
		m, isOver := d.read()
		if m != nil {
			events.Watch(d.watched(m))
			asks.follow(ctx, ready.Wanted(m.Mirrors))
			select {
			case wants <- d.wanted(m):
			case <-ctx.Done():
			}
		}
		if !isReady {
			isReady = true
			_ = notifier.Ready("")
		}
		if isOver {
			d.log.Info("stopped", "reason", "no registry needs to be asked")
			return nil
		}
		if !waitForHint(ctx, events.Hints()) {
			d.log.Info("stopped")
			return nil
		}
	}
}

// read reads the map, and reports whether it needs nothing from here. With a fault it
// returns nil: what was delivered stays, and is renewed. A process that systemd has
// started waits until that would not start it again.
func (d *delivery) read() (m *mirror.Map, isOver bool) {
	m, err := d.node.ReadMap()
	if err != nil {
		if d.fault.Begins(d.log, err.Error()) {
			d.log.Error("map not used; what was delivered stays", "error", err)
		}
		return nil, false
	}
	d.fault.Ends(d.log, "map used again")
	_, err = d.root.Lstat(filepath.Join(d.node.Root, "/", node.DeliverWanted))
	return m, !d.node.NeedsRegistries(m) && errors.Is(err, fs.ErrNotExist)
}

// watched are the files whose change calls for another reading.
func (d *delivery) watched(m *mirror.Map) []string {
	paths := append(d.node.MapFiles(), filepath.Join(d.node.Root, "/", node.DeliverWanted), filepath.Join(d.node.Root, "/", plan.ReadyDir, "*"))
	if m == nil {
		return paths
	}
	for _, w := range d.wanted(m) {
		if w.Credential.File != "" {
			paths = append(paths, filepath.Join(d.node.Root, "/", w.Credential.File))
		}
	}
	return paths
}

// waitForHint waits for an event and then until no more come, or for the tick. It
// returns false when ctx ended.
func waitForHint(ctx context.Context, hints <-chan struct{}) bool {
	tick := time.NewTimer(deliverTick)
	defer tick.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-tick.C:
		return true
	case <-hints:
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-hints:
		case <-time.After(deliverQuiet):
			return true
		}
	}
}
