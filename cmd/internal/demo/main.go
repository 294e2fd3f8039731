// Demo shows mirrorcred at work from end to end, on loopback and below a
// temporary directory: a map that sends mcr.microsoft.com to
// contoso.azurecr.io, what the manager makes of it, what the plugin answers the
// kubelet, and containerd pulling with that answer from a registry that refuses
// all others.
//
//	go run ./cmd/internal/demo
//
// It checks what it shows, and exits with 1 if something is wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
)

const usage = `Usage: go run ./cmd/internal/demo [-bin DIR]

Shows mirrorcred from the map to the pull: on loopback, in a temporary directory
that is removed at the end, without root.

  -bin DIR   take mirrorcred and mirror-credential-provider from DIR instead of
             building them
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}

// run shows the demo, or is the containerd that the demo starts.
func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if done, err := nodetest.Containerd(ctx, ways(), stdin, stdout); done {
		return err
	}
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	bin := flags.String("bin", "", "")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		_, err := io.WriteString(stdout, usage)
		return err
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; write -bin DIR", flags.Arg(0))
	}
	dir, err := os.MkdirTemp("", "mirrorcred-demo-")
	if err != nil {
		return err
	}
	d := demo{printer: printer{w: stdout}, bin: *bin, dir: dir}
	return errors.Join(d.show(ctx), d.close(), os.RemoveAll(dir))
}

// show runs the steps. Each one reads the last one's results.
func (d *demo) show(ctx context.Context) error {
	d.printf("mirrorcred: one map, both sides\n\n")
	d.printf("Everything happens on loopback and below %s,\nwhich is removed at the end.\n", d.dir)
	if d.bin == "" {
		d.bin = filepath.Join(d.dir, "bin")
		d.step("Build %s and %s", nodetest.Manager, nodetest.Plugin)
		if err := nodetest.Build(ctx, d.bin); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context) error{
		d.registries, d.layOut, d.apply, d.refusedByTarget, d.ask, d.pull, d.seen,
	} {
		if err := step(ctx); err != nil {
			return err
		}
		if d.err != nil {
			return d.err
		}
	}
	d.printf("\ndemo: ok\n")
	return d.err
}
