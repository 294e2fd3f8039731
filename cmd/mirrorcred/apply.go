package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const applyUsage = `Usage: mirrorcred apply [FLAGS]

Makes this node match its mirror map, once: the plugin's routes, the kubelet's
credential providers and containerd's hosts.toml files. A mirror is never active
before its credential is. Running it again changes only what differs.

  -n, --dry-run     change nothing; print what would become of each mirror
      --diff        with -n, print each file that would change as a diff too
      --map FILE    the map (default /etc/mirrorcred/mirrors.toml, or else
                    /etc/mirrorcred/delivered/mirrors.toml, below --root)
      --root DIR    all paths are below DIR, for building images; links do not
                    lead out of it; running daemons are ignored
      --adopt       overwrite hosts.toml files that mirrorcred did not write, and
                    replace another program's directories and certificates for
                    a source of the map; a copy of each is kept in
                    /var/lib/mirrorcred/adopted
      --no-kubelet  no kubelet runs, if that cannot be seen from here, such as in
                    a container that builds an image
      --no-deliver  ask no registry for a credential that is in hosts.toml,
                    and use what "mirrorcred deliver" got
      --detailed-exitcode
                    exit with 2 if something is pending, or with -n if there is
                    anything to change
      --json        print the result as JSON
      --wait TIME   how long to wait for another mirrorcred (default 30s)
  -h, --help        print this text

Exit code: 0 all that can be done now is done, and what is pending is printed,
such as a restart of the kubelet or the drain of a removed mirror; 1 an error, a
fault of a source, or a conflicting file that mirrorcred did not write; 2 with
--detailed-exitcode only. Warnings and notes change no exit code. SIGINT and
SIGTERM end the run between two changes, with exit code 130 or 143: each source
is as before or as the map says, and the next run goes on.

Example:
  mirrorcred apply -n && mirrorcred apply   # look first
`

// runApply is the command apply.
func runApply(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("apply", pflag.ContinueOnError)
	dryRun := flags.BoolP("dry-run", "n", false, "")
	mapFile := flags.String("map", "", "")
	flags.String("root", "", "")
	adopt := flags.Bool("adopt", false, "")
	noKubelet := flags.Bool("no-kubelet", false, "")
	noDeliver := flags.Bool("no-deliver", false, "")
	diff := flags.Bool("diff", false, "")
	detailed := flags.Bool("detailed-exitcode", false, "")
	asJSON := flags.Bool("json", false, "")
	wait := flags.Duration("wait", 30*time.Second, "")
	if done, err := parse(flags, applyUsage, args, stdout); done || err != nil {
		return err
	}
	dir, err := rootFlag(flags)
	if err != nil {
		return err
	}
	// The run is short and keeps nearly all that it allocates, so garbage
	// collection gains little. With 10,000 mirrors it took a sixth of the user
	// time; this setting costs 20 MiB for a moment. The watcher runs on, and keeps
	// the default.
	debug.SetGCPercent(400)
	n := node.New(dir, *mapFile, *adopt)
	n.Retry, n.NoKubelet = true, *noKubelet
	n.LockTimeout, n.OnWait = *wait, reportWait
	if *diff && !*dryRun {
		return errors.New("--diff shows what would change; write -n too")
	}
	if !*dryRun {
		return exitCode(applyNode(ctx, n, applying{asJSON: *asJSON, asks: dir == "" && !*noDeliver}, stdout), *detailed)
	}
	todo, err := n.Plan(ctx)
	if err != nil {
		return err
	}
	if *asJSON {
		err = printJSON(stdout, todo, true, outcome(todo, true) == nil)
	} else {
		err = printDry(stdout, todo, *diff)
	}
	return exitCode(errors.Join(err, outcome(todo, true)), *detailed)
}

// reportWait reports that this run waits, on stderr: stdout is for the result.
func reportWait(line string) { fmt.Fprintf(&plain{w: os.Stderr}, "mirrorcred: %s\n", line) }

// printDry prints a plan that is not carried out: in the map's words, and with
// diff each file too.
func printDry(w io.Writer, todo plan.Plan, diff bool) error {
	if diff {
		if _, err := io.WriteString(w, todo.Diff()); err != nil {
			return err
		}
	}
	if err := newPreview(todo).print(w, todo, "--diff shows them"); err != nil {
		return err
	}
	return printRest(w, todo, true)
}

// exitCode returns what apply ends with. Something pending is printed and is not a
// failure, unless the caller wants to tell it apart.
func exitCode(err error, detailed bool) error {
	var code exit
	if errors.As(err, &code) && code == later && !detailed && onlyExit(err) {
		return nil
	}
	return err
}

// onlyExit reports whether an error is an exit code and nothing else.
func onlyExit(err error) bool {
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		_, ok := err.(exit)
		return ok
	}
	for _, one := range many.Unwrap() {
		if !onlyExit(one) {
			return false
		}
	}
	return true
}

// An applying says how apply goes about it.
type applying struct {
	asJSON bool
	asks   bool // registries, for the credentials that are in hosts.toml
}

// applyNode makes a node match its map and prints each change as it is made. A
// signal ends it before the next change.
func applyNode(ctx context.Context, n *node.Node, how applying, stdout io.Writer) error {
	ctx, stop := untilSignal(ctx)
	defer stop()
	// Otherwise a reader that is gone would end this program by a signal, between
	// any two changes.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	out := newBacklog(stdout)
	made, print := []plan.Change{}, printOnce(out)
	n.Made = func(c plan.Change) {
		made = append(made, c)
		if !how.asJSON {
			print(c)
		}
	}
	var holds []string
	if how.asks {
		askReady(ctx, n)
		var err error
		if holds, err = deliverFor(ctx, n); err != nil {
			return errors.Join(err, out.Close(ctx))
		}
	}
	todo, err := n.Apply(ctx)
	todo.Notes = append(todo.Notes, holds...)
	var part *node.InterruptedError
	switch {
	case errors.As(err, &part) && part.Changes > 0:
		todo.Changes = made
		if how.asJSON {
			err = errors.Join(err, printJSON(out, todo, false, false))
		}
	case err != nil:
	case how.asJSON:
		err = errors.Join(printJSON(out, todo, false, outcome(todo, false) == nil), outcome(todo, false))
	default:
		err = errors.Join(printRest(out, todo, false), outcome(todo, false))
	}
	return errors.Join(out.Close(ctx), bySignal(ctx, err))
}

// later is the detailed exit code of a plan that leaves something pending.
const later exit = 2

// outcome returns the detailed exit code of a plan.
func outcome(todo plan.Plan, dryRun bool) error {
	switch {
	case len(todo.Conflicts) > 0, len(todo.Faults) > 0:
		return exit(1)
	case len(todo.Pending) > 0, len(todo.Draining) > 0, todo.Loss != "", dryRun && len(todo.Changes) > 0, dryRun && todo.Stopped != "":
		return later
	}
	return nil
}

func printJSON(w io.Writer, todo plan.Plan, dryRun, inSync bool) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(struct {
		InSync bool `json:"in_sync"`
		DryRun bool `json:"dry_run"`
		plan.Plan
	}{inSync, dryRun, todo})
}
