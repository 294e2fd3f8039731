package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/installer"
	"github.com/mirrorcred/mirrorcred/systemd"
)

const installUsage = `Usage: mirrorcred install [FLAGS]

Puts mirrorcred on the node of this pod, or takes it off: for the init container of
a DaemonSet. It writes both programs to /usr/local/lib/mirrorcred and units to
/etc/systemd/system, which are the node's directories, mounted at the same paths.
Then it has the node's systemd run "mirrorcred bootstrap join" on the node, waits
for its end, and prints what it printed.

  -n, --dry-run       change nothing; print which files would be written, and what
                      would be run
      --map FILE      the map for a node that has none yet; later the courier
                      delivers it
      --allowed FILE  what a delivered map may name, for /etc/mirrorcred/allowed.toml
                      (default: the node's own stays)
      --bake          run "mirrorcred bootstrap bake" before, which sets containerd's
                      config_path and restarts containerd if it was not set
      --watch-flags FLAGS
                      flags of "mirrorcred watch" on the node, in one string
      --undo          run "mirrorcred bootstrap undo" on the node instead, and remove
                      the programs, the units and the delivered map
      --stay          when all is done, wait to be stopped: for a pod's container
      --wait TIME     how long to wait for the node (default 10m)
  -h, --help          print this text

Exit code: 0 done; 1 an error, or with --undo, something still drains: run it again.

Example:
  mirrorcred install -n --map /map/mirrors.toml            # look first
  mirrorcred install --map /map/mirrors.toml --watch-flags=--restart-kubelet
`

// runInstall is the command install.
func runInstall(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("install", pflag.ContinueOnError)
	i := installer.Installer{Out: stdout, Connect: connectBus}
	flags.BoolVarP(&i.DryRun, "dry-run", "n", false, "")
	flags.StringVar(&i.Map, "map", "", "")
	flags.StringVar(&i.Allowed, "allowed", "", "")
	flags.BoolVar(&i.Bake, "bake", false, "")
	flags.StringVar(&i.WatchFlags, "watch-flags", "", "")
	undo := flags.Bool("undo", false, "")
	stay := flags.Bool("stay", false, "")
	wait := flags.Duration("wait", 10*time.Minute, "")
	if done, err := parse(flags, installUsage, args, stdout); done || err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	i.Programs = []string{filepath.Dir(program), "/usr/libexec/mirrorcred"} // as in the image
	ctx, stop := untilSignal(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(ctx, *wait)
	defer cancel()
	work := i.Install
	if *undo {
		work = i.Undo
	}
	if err := work(limited); err != nil {
		return bySignal(ctx, err)
	}
	if *stay && !i.DryRun {
		<-ctx.Done()
	}
	return nil
}

// connectBus connects to the node's systemd.
func connectBus(ctx context.Context) (installer.Bus, error) {
	bus, err := systemd.Connect(ctx)
	if err != nil {
		return nil, err // not a nil *Bus in the interface
	}
	return bus, nil
}
