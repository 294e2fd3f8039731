package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/courier"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

const courierUsage = `Usage: mirrorcred courier [FLAGS]

Runs in a pod on each node of a cluster. It carries a map from a ConfigMap to the
host, where "mirrorcred watch" applies it, and reports to the cluster what the host
makes of it. A map that does not parse is not delivered, and what was delivered
before stays, also when the pod is deleted.

  --map FILE       the map, in the directory where the ConfigMap is mounted
                   (default /map/mirrors.toml)
  --allowed FILE   what the map may name on the node, if the pod brings it: a map
                   that names more is not delivered (default: the host decides)
  --deliver DIR    the directory of the host that the map is written to
                   (default /etc/mirrorcred/delivered)
  --socket FILE    the socket of the host's watcher
                   (default /run/mirrorcred/status/status.sock)
  --listen ADDR    serve /readyz, /healthz and the host's /metrics at this address
                   (default :9469)
  --ring NAME      the name of this pod's ring, for the lock and the log
                   (default "default")
  --pod NAME       the name of this pod (default $POD_NAME, or the host name)
  --events         write each run of the host's plugin to standard output, a line
                   of JSON each (default true)
  --report-lease   keep a Lease in the cluster that says whether the node is in sync
  --node NAME      the name of this node and of its Lease (default $NODE_NAME)
  --namespace NAME the namespace of the Lease (default $POD_NAMESPACE, or the pod's)
  --token-dir DIR  where the pod's token, ca.crt and namespace are mounted
                   (default /var/run/secrets/kubernetes.io/serviceaccount)
  -h, --help       print this text

The pod is ready while the host does what this pod's map says: its status names that
map, without a fault and without a conflict. The log goes to standard error.

Example:
  mirrorcred courier --map /map/mirrors.toml --ring first --report-lease
`

// courierFlags are the flags of the command courier.
type courierFlags struct {
	mapFile, allowed, deliver, socket, listen string
	ring, pod                                 string
	events, report                            bool
	node, namespace, tokenDir                 string

	log *slog.Logger
}

// runCourier is the command courier.
func runCourier(ctx context.Context, args []string, stdout io.Writer) error {
	var f courierFlags
	flags := pflag.NewFlagSet("courier", pflag.ContinueOnError)
	flags.StringVar(&f.mapFile, "map", "/map/mirrors.toml", "")
	flags.StringVar(&f.allowed, "allowed", "", "")
	flags.StringVar(&f.deliver, "deliver", node.DeliveredDir, "")
	flags.StringVar(&f.socket, "socket", statusSocket, "")
	flags.StringVar(&f.listen, "listen", ":9469", "")
	flags.StringVar(&f.ring, "ring", "default", "")
	flags.StringVar(&f.pod, "pod", os.Getenv("POD_NAME"), "")
	flags.BoolVar(&f.events, "events", true, "")
	flags.BoolVar(&f.report, "report-lease", false, "")
	flags.StringVar(&f.node, "node", os.Getenv("NODE_NAME"), "")
	flags.StringVar(&f.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "")
	flags.StringVar(&f.tokenDir, "token-dir", courier.TokenDir, "")
	if done, err := parse(flags, courierUsage, args, stdout); done || err != nil {
		return err
	}
	if f.pod == "" {
		name, err := os.Hostname()
		if err != nil {
			return err
		}
		f.pod = name
	}
	if f.report && f.node == "" {
		return errors.New("--report-lease needs the name of the node; set NODE_NAME from spec.nodeName, or write --node")
	}
	f.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	// Memory matters more here than speed: a map is parsed when it changes.
	debug.SetGCPercent(50)
	return f.run(ctx, stdout)
}

// run carries until ctx ends.
func (f courierFlags) run(ctx context.Context, stdout io.Writer) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	self, host := courier.Holder{Ring: f.ring, Pod: f.pod}, watch.Client{Socket: f.socket}
	c := courier.New(courier.Options{Map: f.mapFile, Allowed: f.allowed, Deliver: f.deliver, Self: self, Host: host, Log: f.log})
	report, err := f.reporter(c, self)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("--listen=%s: %w", f.listen, err)
	}
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := c.Serve(ctx, listener); err != nil {
			cancel(err)
		}
	})
	if f.events {
		parts.Go(func() { courier.Follow(ctx, host, stdout) })
	}
	if report != nil {
		parts.Go(func() { report.Run(ctx) })
	}
	f.log.Info("carrying", "map", f.mapFile, "to", f.deliver, "ring", f.ring, "pod", f.pod, "version", version)
	c.Run(ctx)
	err = context.Cause(ctx)
	cancel(nil)
	parts.Wait()
	if errors.Is(err, context.Canceled) {
		f.log.Info("stopped; the map stays on the host")
		return nil
	}
	return err
}

// reporter returns what keeps the Lease, nil if none is wanted.
func (f courierFlags) reporter(c *courier.Courier, self courier.Holder) (*courier.Reporter, error) {
	if !f.report {
		return nil, nil
	}
	cluster, err := courier.NewCluster(os.Getenv, f.tokenDir, f.namespace)
	if err != nil {
		return nil, err
	}
	return &courier.Reporter{Node: f.node, Self: self, See: c.View, Writer: cluster, Log: f.log}, nil
}
