package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/bootstrap"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const bootstrapUsage = `Usage: mirrorcred bootstrap bake|join|undo [FLAGS]

Sets this node up for mirrorcred, or takes that back. Each phase can be run any
number of times; one that finds nothing to do changes nothing.

  bake  containerd's half, for an image: both programs, the units, the manual and
        completions, containerd's config_path, and the mirrors
  join  the kubelet's half, on the node, before or after it joins its cluster:
        the plugin and its configuration, the kubelet's two flags, the service,
        and a restart of the kubelet if it runs and its configuration changed
  undo  everything back as it was: the mirrors drain first

  -n, --dry-run    change nothing; print each step and command in a line,
                   and then a diff of each file
      --map FILE   the map (default /etc/mirrorcred/mirrors.toml, or else
                   /etc/mirrorcred/delivered/mirrors.toml, below --root)
      --root DIR   all paths are below DIR, for building images; links do not
                   lead out of it, and commands are printed instead of run
      --adopt      take over what other programs have set: their hosts.toml for
                   a source of the map, their config_path, and the kubelet's
                   flags if they name other paths than the map; a copy is kept,
                   and undo puts it back
      --allowed FILE
                   join: put FILE in the place of /etc/mirrorcred/allowed.toml,
                   which says what a map from the cluster may name; if there is
                   no FILE, leave that as it is
      --detailed-exitcode
                   exit with 2 if something waits, or with -n if there is
                   anything to change
      --wait TIME  how long to wait for another mirrorcred (default 30s)
  -h, --help       print this text

Exit code: 0 all that can be done now is done, and what waits is printed; 1 an
error, or refused: then nothing is written, and each line on stderr names a file,
the setting to change there, and the remedy; 2 with --detailed-exitcode only.

Example:
  mirrorcred bootstrap bake -n && mirrorcred bootstrap bake   # look first
  mirrorcred bootstrap join
`

// bootFlags are the flags of bootstrap.
type bootFlags struct {
	dryRun, adopt, detailed bool
	mapFile, root, allowed  string
	wait                    time.Duration
}

// phases returns the phases of bootstrap by name.
func phases() map[string]func(context.Context, bootFlags, io.Writer) error {
	return map[string]func(context.Context, bootFlags, io.Writer) error{
		"bake": runBake,
		"join": runJoin,
		"undo": runUndo,
	}
}

// findPhase returns the phase that the arguments name.
func findPhase(args []string) (func(context.Context, bootFlags, io.Writer) error, error) {
	const help = "; run \"mirrorcred bootstrap --help\""
	names := words["bootstrap"]
	if len(args) == 0 {
		return nil, errors.New("missing phase; name one of " + strings.Join(names, ", ") + help)
	}
	phase, known := phases()[args[0]]
	if near, ok := nearest(args[0], names); !known && ok {
		return nil, fmt.Errorf("unknown phase %q; did you mean %q?", args[0], near)
	}
	switch {
	case !known:
		return nil, fmt.Errorf("unknown phase %q; name one of %s%s", args[0], strings.Join(names, ", "), help)
	case len(args) > 1:
		return nil, fmt.Errorf("unexpected argument %q%s", args[1], help)
	}
	return phase, nil
}

// runBootstrap is the command bootstrap.
func runBootstrap(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("bootstrap", pflag.ContinueOnError)
	var f bootFlags
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "")
	flags.StringVar(&f.mapFile, "map", "", "")
	flags.String("root", "", "")
	flags.BoolVar(&f.adopt, "adopt", false, "")
	flags.StringVar(&f.allowed, "allowed", "", "")
	flags.BoolVar(&f.detailed, "detailed-exitcode", false, "")
	flags.DurationVar(&f.wait, "wait", 30*time.Second, "")
	if done, err := parseFlags(flags, bootstrapUsage, args, stdout); done || err != nil {
		return err
	}
	var err error
	if f.root, err = rootFlag(flags); err != nil {
		return err
	}
	phase, err := findPhase(flags.Args())
	if err != nil {
		return err
	}
	if f.allowed != "" && flags.Arg(0) != "join" {
		return fmt.Errorf("--allowed is for \"bootstrap join\", not for %s; leave it out", flags.Arg(0))
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	out := newBacklog(stdout)
	err = phase(ctx, f, out)
	return exitCode(errors.Join(out.Close(ctx), bySignal(ctx, err)), f.detailed)
}

// newBaking returns the setup of the node that the flags name, which prints each
// change once it is made.
func newBaking(f bootFlags, p *printer) (*bootstrap.Baking, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	b := &bootstrap.Baking{
		Node: bootstrap.New(f.root), Mirrors: node.New(f.root, f.mapFile, f.adopt), Adopt: f.adopt, Program: program,
	}
	b.Mirrors.NoKubelet, b.Mirrors.Retry, b.Mirrors.LockTimeout = true, true, f.wait
	b.Mirrors.NoDelivery = true
	b.Mirrors.OnWait = reportWait
	b.Made = p.step
	b.Mirrors.Made = printOnce(p.w)
	for _, e := range []struct {
		path, text string
		print      func(io.Writer) error
	}{
		{"man/man1/mirrorcred.1", "the manual page", manual},
		{"bash-completion/completions/mirrorcred", "completion for bash", bashCompletion},
		{"zsh/site-functions/_mirrorcred", "completion for zsh", zshCompletion},
		{"fish/vendor_completions.d/mirrorcred.fish", "completion for fish", fishCompletion},
	} {
		var data bytes.Buffer
		if err := e.print(&data); err != nil {
			return nil, err
		}
		b.Extras = append(b.Extras, bootstrap.Extra{Path: "/usr/local/share/" + e.path, Text: e.text, Data: data.Bytes()})
	}
	return b, nil
}

// runBake is "bootstrap bake". Whether it is refused is known before anything is
// written, the lock included.
func runBake(ctx context.Context, f bootFlags, stdout io.Writer) error {
	p := &printer{w: stdout}
	b, err := newBaking(f, p)
	if err != nil {
		return err
	}
	todo, err := b.PlanBake(ctx)
	if err != nil || len(todo.Refusals) > 0 {
		return errors.Join(err, refusals(todo.Refusals))
	}
	if f.dryRun {
		return printBake(p, todo)
	}
	release, err := b.Mirrors.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if todo, err = b.PlanBake(ctx); err != nil || len(todo.Refusals) > 0 {
		return errors.Join(err, refusals(todo.Refusals))
	}
	left, applied, err := b.Bake(ctx, todo)
	if err != nil {
		return err
	}
	waits := p.remains(todo.Plan, left)
	if len(todo.Waiting) == 0 {
		return errors.Join(printRest(stdout, applied, false), outcome(applied, false), waits, p.err)
	}
	return errors.Join(waits, p.err)
}

// printBake prints what bake would do.
func printBake(p *printer, todo bootstrap.BakePlan) error {
	code := p.steps(todo.Plan)
	if todo.Later != "" {
		p.printf("%-9sthe mirrors: %s\n", "waiting", todo.Later)
	}
	return errors.Join(code, p.dry(todo.Steps, todo.Mirrors, todo.Later))
}

// dry prints the rest of a dry run: what becomes of the mirrors, unless something says
// why that is not known yet, and then a diff of each file.
func (p *printer) dry(steps []bootstrap.Step, mirrors plan.Plan, unknown string) error {
	var code error = later
	if unknown == "" {
		code = errors.Join(newPreview(mirrors).print(p.w, mirrors, "their diffs are below"), printRest(p.w, mirrors, true), outcome(mirrors, true))
	}
	var diffs strings.Builder
	for _, s := range steps {
		diffs.WriteString(s.Diff())
	}
	if unknown == "" {
		diffs.WriteString(mirrors.Diff())
	}
	if diffs.Len() > 0 {
		p.printf("\n%s", diffs.String())
	}
	return errors.Join(code, p.err)
}

// step prints a step. The directories of its file go without saying.
func (p *printer) step(s bootstrap.Step) {
	if !s.IsDir() {
		p.printf("%s\n", s)
	}
}

// steps prints the steps of a plan that is not carried out, a line each. The diffs
// come later, so that a person sees the whole plan first.
func (p *printer) steps(todo bootstrap.Plan) error {
	for _, s := range todo.Steps {
		p.step(s)
	}
	p.notes(todo)
	if len(todo.Steps)+len(todo.Waiting) > 0 {
		return later
	}
	return nil
}

// remains prints what a plan leaves to do: the commands that were not run here, and
// what waits.
func (p *printer) remains(todo bootstrap.Plan, commands [][]string) error {
	for _, c := range commands {
		p.printf("%-9son the node, if it is running: %s\n", "left", strings.Join(c, " "))
	}
	p.notes(todo)
	if len(todo.Waiting) > 0 {
		return later
	}
	return nil
}

func (p *printer) notes(todo bootstrap.Plan) {
	for _, note := range todo.Notes {
		p.printf("%-9s%s\n", "note", note)
	}
	for _, wait := range todo.Waiting {
		p.printf("%-9s%s\n", "waiting", wait)
	}
}

// refusals returns the refusals as errors, a line each; nil for none.
func refusals(list []bootstrap.Refusal) error {
	var errs []error
	for _, r := range list {
		errs = append(errs, errors.New(r.String()))
	}
	return errors.Join(errs...)
}
