package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	neturl "net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/check"
	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/cmd/internal/episode"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/sources"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// A delivery asks the registries of a node's map.
type delivery struct {
	node      *node.Node
	root      *input.Root
	log       *slog.Logger
	deliverer *deliver.Deliverer
	proxy     func(*http.Request) (*neturl.URL, error)
	wanting   atomic.Pointer[mirror.Containerd] // of the map that was last read
	fault     episode.Episode                   // of the map
}

func newDelivery(n *node.Node, log *slog.Logger) *delivery {
	d := &delivery{node: n, root: input.NewRoot(n.Root), log: log, proxy: client.Proxy(containerdEnvironment(n.Root))}
	fetcher := &deliver.Fetcher{Sources: sources.Options{
		Root: n.Root, Tree: d.root, ReadConfig: d.readOwned,
		Azure: azure.Options{ReadFile: func(_ context.Context, path string) ([]byte, error) { return d.readOwned(path) }},
	}}
	d.deliverer = &deliver.Deliverer{
		Store: handover.New(filepath.Join(n.Root, "/", handover.Dir)), Log: log,
		Fetch: fetcher.Fetch, Prove: deliver.ProveBy(d.prover, n.ReadSecret),
	}
	return d
}

// readOwned reads a file that holds the node's identity, or decides where that is sent:
// of root, or of the user that runs this.
func (d *delivery) readOwned(path string) ([]byte, error) {
	path = filepath.Join(d.node.Root, path)
	data, info, err := d.root.Read(path, 1<<20)
	if err != nil {
		return nil, err
	}
	if uid, is := input.Stranger(info); is {
		return nil, fmt.Errorf("%s belongs to user %d, and is not used; run: chown root %[1]s", path, uid)
	}
	return data, nil
}

// prover returns what asks registries for the containerd that the node has now.
func (d *delivery) prover(ctx context.Context) prove.Prover {
	return prove.Prover{
		Version: d.containerdVersion(ctx),
		Client: func(e hosts.Endpoint) (*http.Client, error) {
			return client.New(client.Files{Root: d.node.Root}, e, d.proxy)
		},
	}
}

// containerdVersion returns the oldest version of containerd that may pull on this node,
// the zero Version if that is not known.
func (d *delivery) containerdVersion(ctx context.Context) hosts.Version {
	start, err := containerd.Observer{Root: d.node.Root, Offline: d.node.Root != "", Wanted: *d.wanting.Load(), Dry: true}.Start(ctx)
	if err != nil || len(start.Versions) == 0 {
		return hosts.Version{}
	}
	return start.Versions[0]
}

// wanted returns what a map wants delivered.
func (d *delivery) wanted(m *mirror.Map) []deliver.Want {
	d.wanting.Store(&m.Containerd)
	return deliver.Wanted(m, func(path string) (fs.FileInfo, error) { return d.root.Stat(filepath.Join(d.node.Root, path)) })
}

// once asks for what is due, and returns the outcome for each credential.
func (d *delivery) once(ctx context.Context) ([]deliver.Result, error) {
	m, err := d.node.ReadMap()
	if err != nil {
		return nil, err
	}
	return d.deliverer.Once(ctx, d.wanted(m)), nil
}

// deliverFor asks the registries for a node that "mirrorcred apply" is about to change,
// unless another process does that, and returns until when each credential holds. A
// registry that fails is not an error here: what waits for it reports it.
func deliverFor(ctx context.Context, n *node.Node) ([]string, error) {
	m, err := n.ReadMap()
	if err != nil {
		return nil, nil // the run itself reports what is wrong with the map
	}
	d := newDelivery(n, slog.New(slog.DiscardHandler))
	if keys, err := d.deliverer.Store.Keys(); err != nil || len(keys) == 0 && !m.Delivers() {
		return nil, err
	}
	unlock, err := d.lock()
	if errors.Is(err, errDelivering) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer unlock()
	var notes []string
	for _, r := range d.deliverer.Once(ctx, d.wanted(m)) {
		if !r.Value.Until.IsZero() && !r.Value.Ended(time.Now()) {
			notes = append(notes, fmt.Sprintf("the credential %q of %s in hosts.toml is valid until %s; \"mirrorcred watch\" has it renewed", r.Want.Credential.Name, r.Want.Target, r.Value.Until.UTC().Format(time.RFC3339)))
		}
	}
	return notes, nil
}

// deliverer tells "mirrorcred check" what is known of the process that asks registries on
// this machine.
func deliverer(ctx context.Context) check.Deliverer {
	var d check.Deliverer
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if bus, err := systemd.Connect(ctx); err == nil {
		defer bus.Close()
		d.Service, _ = bus.State(ctx, systemd.DeliverUnit) // zero if systemd has no such unit
		d.Path, _ = bus.State(ctx, systemd.DeliverPathUnit)
	}
	isUp := d.Service.Active == "active" || d.Service.Active == "activating" && !strings.HasPrefix(d.Service.Sub, "auto-restart")
	d.Runs = isUp || isLocked(deliverLock)
	return d
}

// isLocked reports whether a process holds a lock. It does not create the lock's file.
func isLocked(path string) bool {
	f, _, err := input.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}
