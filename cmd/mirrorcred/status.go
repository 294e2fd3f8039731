package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

const statusUsage = `Usage: mirrorcred status [FLAGS]

Shows the state of this node: whether it is in sync, each source with its targets,
its credential and the last run of the plugin for it, and what is pending, draining
or held and why, conflicts, warnings, and the last fault. It asks the watcher; if
none runs, it compares the files of the node with the map itself, and prints that.

  --json         print it as JSON
  --map FILE     the map (default /etc/mirrorcred/mirrors.toml, or else
                 /etc/mirrorcred/delivered/mirrors.toml, below --root)
  --root DIR     the watcher that runs with the same --root, and the files below it
  --socket FILE  its socket (default /run/mirrorcred/status/status.sock below
                 --root)
  -h, --help     print this text

Exit code: 0 the node is in sync; 2 something is pending, draining, held or not
applied; 1 a fault or a conflict.

Example:
  mirrorcred status
  mirrorcred status --json
`

// A wholeStatus is what status shows.
type wholeStatus struct {
	watch.Status
	// FromDisk says that no watcher runs, and the rest is from the node's files.
	FromDisk bool        `json:"from_disk"`
	Mirrors  []mirrorRow `json:"mirrors"`
}

// runStatus is the command status.
func runStatus(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("status", pflag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	mapFile := flags.String("map", "", "")
	flags.String("root", "", "")
	socket := flags.String("socket", "", "")
	if done, err := parse(flags, statusUsage, args, stdout); done || err != nil {
		return err
	}
	dir, err := rootFlag(flags)
	if err != nil {
		return err
	}
	var root *input.Root
	if *socket == "" {
		root, *socket = input.NewRoot(dir), filepath.Join(dir, "/", statusSocket)
	}
	s, err := readStatus(ctx, root, *socket, node.New(dir, *mapFile, false))
	if err != nil {
		return err
	}
	if *asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(s)
	} else {
		err = printStatus(stdout, s)
	}
	return errors.Join(err, statusCode(s.Status))
}

// readStatus asks the watcher, or the disk if none runs.
func readStatus(ctx context.Context, root *input.Root, socket string, n *node.Node) (wholeStatus, error) {
	var s wholeStatus
	var none *watch.NoWatcherError
	var err error
	s.Status, err = watch.ReadStatus(ctx, root, socket)
	if s.FromDisk = errors.As(err, &none); err != nil && !s.FromDisk {
		return s, err
	}
	var todo plan.Plan
	if s.FromDisk {
		var planErr error
		todo, planErr = n.Plan(ctx)
		s.Status = watch.FromPlan(version, n.Source(), todo, planErr)
		if n.Root == "" { // what lies below another root is of another machine
			s.Deliveries = watch.ReadDeliveries(handover.Dir, n.DeliveryKeys())
		}
	}
	if hasEnded(s.Deliveries, time.Now()) {
		s.InSync = false // since the last pass, at the latest
	}
	s.Mirrors = mirrorRows(n, todo, s.Status)
	return s, nil
}

func hasEnded(list []watch.Delivery, now time.Time) bool {
	return slices.ContainsFunc(list, func(d watch.Delivery) bool { return d.Ended(now) })
}

// statusCode returns the exit code of a status.
func statusCode(s watch.Status) error {
	switch {
	case hasEnded(s.Deliveries, time.Now()):
		return exit(1)
	case s.Fault != "" || s.BackingOff || len(s.Conflicts) > 0 || len(s.Faults) > 0:
		return exit(1)
	case !s.InSync:
		return exit(2)
	}
	return nil
}

func printStatus(w io.Writer, s wholeStatus) error {
	p := printer{w: w}
	state := "in sync"
	if !s.InSync {
		state = "not in sync"
	}
	p.printf("node      %s, %s\n", state, count(s.Sources, "source"))
	p.printf("map       %s\n", mapOf(s.Status))
	if s.FromDisk {
		p.printf("watcher   none runs, so this is from the files of the node; start it with: systemctl start mirrorcred\n")
	} else {
		p.printf("watcher   version %s, process %d, since %s\n", s.Version, s.PID, when(s.Started))
		p.printf("checked   %s\n", when(s.LastReconcile))
		p.printf("changed   %s\n", when(s.LastChange))
	}
	p.mirrors(s.Mirrors)
	p.deliveries(s.Deliveries, time.Now())
	p.pending(10, "held", s.Held)
	p.undone(10, s.Pending, s.Draining, s.Conflicts)
	p.loss(10, s.LossWhy, s.Loss)
	p.pending(10, "fault", s.Faults)
	p.warnings(10, s.Warnings)
	if s.BackingOff {
		p.printf("backoff   another program keeps reverting mirrorcred's files; the log names them\n")
	}
	if s.NoRestart != "" {
		p.printf("restart   the kubelet cannot be restarted from here; restart it yourself when a source is pending: %s\n", s.NoRestart)
	}
	if s.Degraded != "" {
		p.printf("polling   some file changes are only seen at the next tick: %s\n", s.Degraded)
	}
	if len(s.FaultWhy) == 0 && s.Fault != "" { // from a watcher of an earlier version
		s.FaultWhy = []fault.Fault{{What: s.Fault}}
	}
	for _, line := range reportAll(s.FaultWhy, "fault     ", "          ", widthOf(w)) {
		p.printf("%s\n", line)
	}
	return p.err
}

// deliveries prints the credentials that are in hosts.toml.
func (p *printer) deliveries(list []watch.Delivery, now time.Time) {
	for _, d := range list {
		state := "credential " + d.Credential + " in hosts.toml"
		switch {
		case d.Credential == "":
			state = "no credential yet"
		case d.Ended(now):
			state += " expired " + when(d.Until)
		case !d.Until.IsZero():
			state += " until " + when(d.Until)
		}
		if d.Unproved {
			state += "; not proved, since the registry answers without it too"
		}
		if d.Fault != "" {
			state += "; the last try failed: " + d.Fault
		}
		p.printf("delivery  %s: %s\n", d.Registry, state)
	}
}

// mapOf says which map takes effect, if there could be another one.
func mapOf(s watch.Status) string {
	switch {
	case s.Delivered:
		return s.Map + ", from the cluster"
	case s.UnusedMap != "":
		return s.Map + ", the node's own; the map from the cluster has no effect"
	}
	return s.Map
}

// when returns a time for a person.
func when(t time.Time) string {
	if t.IsZero() {
		return "not yet"
	}
	return t.Local().Format(time.DateTime)
}
