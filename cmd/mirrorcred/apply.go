package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

const applyUsage = `Usage: mirrorcred apply [FLAGS]

Brings this node to its mirror map, once: the routes of the plugin, the
kubelet's credential providers and containerd's hosts.toml files, in an order
that leaves no mirror without its credential. Running it again changes nothing.

  -n, --dry-run     change nothing and print the changes as a diff
      --map FILE    the map (default /etc/mirrorcred/mirrors.toml below --root)
      --root DIR    take all paths as below DIR, for building images; no running
                    program is asked then, and none is waited for
      --adopt       take over hosts.toml files that others wrote or edited where
                    the map wants its own; a copy of each is kept in
                    /var/lib/mirrorcred/adopted
      --json        print what was done as JSON
      --wait TIME   how long to wait for another mirrorcred (default 30s)
  -h, --help        print this text

Exit code: 0 the node is in step with its map; 2 something is left for later,
such as a restart of the kubelet or the drain of a removed mirror, or with -n
anything at all; 1 an error, or a file in the way that is not ours.

Example:
  mirrorcred apply -n && mirrorcred apply
`

// runApply is the command apply.
func runApply(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("apply", pflag.ContinueOnError)
	dryRun := flags.BoolP("dry-run", "n", false, "")
	mapFile := flags.String("map", "", "")
	root := flags.String("root", "", "")
	adopt := flags.Bool("adopt", false, "")
	asJSON := flags.Bool("json", false, "")
	wait := flags.Duration("wait", 30*time.Second, "")
	if done, err := parse(flags, applyUsage, args, stdout); done || err != nil {
		return err
	}
	dir, err := absolute(*root)
	if err != nil {
		return err
	}
	// The run is over soon and keeps nearly all that it allocates, so that to
	// look for garbage is in vain. With 10,000 mirrors that was a sixth of its
	// user time, and this costs 20 MiB for a moment; with few it never comes to
	// it. The watcher stays, and keeps the default.
	debug.SetGCPercent(400)
	n := node.New(dir, *mapFile, *adopt)
	n.Retry = true
	var plan node.Plan
	if *dryRun {
		plan, err = n.Plan()
	} else {
		waiting, cancel := context.WithTimeout(ctx, *wait)
		defer cancel()
		plan, err = n.Apply(waiting)
	}
	if err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(stdout, plan, *dryRun)
	} else {
		err = printPlan(stdout, plan, *dryRun)
	}
	return errors.Join(err, outcome(plan, *dryRun))
}

// outcome returns the exit code of a plan.
func outcome(plan node.Plan, dryRun bool) error {
	switch {
	case len(plan.Left) > 0:
		return exit(1)
	case len(plan.Pending) > 0, len(plan.Draining) > 0, dryRun && len(plan.Changes) > 0:
		return exit(2)
	}
	return nil
}

func printJSON(w io.Writer, plan node.Plan, dryRun bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		InStep bool `json:"in_step"`
		DryRun bool `json:"dry_run"`
		node.Plan
	}{outcome(plan, dryRun) == nil, dryRun, plan})
}

// printPlan prints a plan for a person: the diff of a dry run, or what was
// changed, then what is left to do.
func printPlan(w io.Writer, plan node.Plan, dryRun bool) error {
	p := printer{w: w}
	if dryRun {
		p.printf("%s", plan.Diff())
	}
	for _, c := range plan.Changes {
		switch {
		case dryRun:
		case c.New == nil:
			p.printf("removed  %s\n", c.Path)
		case c.Old == nil:
			p.printf("created  %s\n", c.Path)
		default:
			p.printf("changed  %s\n", c.Path)
		}
	}
	for _, audience := range plan.NewAudiences {
		p.printf("%-9sthe cluster has to let its nodes ask for tokens for %s: the verb request-serviceaccounts-token-audience on the resource %q, for the group system:nodes (docs/credentials.md); without it the kubelet runs the provider for no pod that has a service account\n", "remember", audience, audience)
	}
	p.undone(9, plan.Pending, plan.Draining, plan.Left)
	switch {
	case outcome(plan, dryRun) == nil:
		p.printf("in step: %s\n", count(plan.Sources, "source"))
	case dryRun:
		p.printf("%s to make; nothing was changed\n", count(len(plan.Changes), "change"))
	}
	return p.err
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// A printer keeps the first error of a writer.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// undone prints what is not as the map says yet, a line each, behind a column of
// the given width.
func (p *printer) undone(width int, pending, draining []node.Wait, left []node.Left) {
	p.waits(width, "pending", pending)
	p.waits(width, "draining", draining)
	for _, one := range left {
		p.printf("%-*s%s: %s\n", width, "left", one.Path, one.Reason)
	}
}

// waits prints sources that are not as the map says, and why.
func (p *printer) waits(width int, what string, list []node.Wait) {
	for _, wait := range list {
		p.printf("%-*s%s: %s\n", width, what, wait.Source, wait.Reason)
	}
}
