// Mirrorcred brings a node to its mirror map: containerd's registry
// configuration, the kubelet's credential providers, and what the plugin
// between them may answer. Run it with --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
)

// version is what "mirrorcred version" prints. The build sets it.
var version = "development"

const usage = `Usage: mirrorcred COMMAND [FLAGS]

One mirror map drives containerd's hosts.toml files and the kubelet's credential
plugin, so that a mirror is never without its credential, and no credential goes
to a registry that it is not for.

Commands:
  apply     bring this node to its map, once
  watch     keep this node in step with its map
  status    what the watcher says of this node
  units     print or install the systemd units
  events    print what the credential plugin did
  version   print the version

Run "mirrorcred COMMAND --help" for the flags of a command.
`

// An exit is an exit code that is no error: the command said what it means.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	var code exit
	switch {
	case err == nil:
	case errors.As(err, &code):
		os.Exit(int(code))
	default:
		fmt.Fprintf(os.Stderr, "mirrorcred: %v\n", err)
		os.Exit(1)
	}
}

// run carries out one command.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	if len(args) == 0 {
		return errors.New("no command is named; run \"mirrorcred --help\"")
	}
	switch name := args[0]; name {
	case "apply":
		return runApply(ctx, args[1:], stdout)
	case "watch":
		return runWatch(ctx, args[1:], stdout)
	case "status":
		return runStatus(ctx, args[1:], stdout)
	case "units":
		return runUnits(ctx, args[1:], stdout)
	case "events":
		return runEvents(ctx, args[1:], stdout)
	case "version", "--version":
		_, err := fmt.Fprintf(stdout, "mirrorcred version %s\n", version)
		return err
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, usage)
		return err
	default:
		return fmt.Errorf("%q is no command; the commands are apply, watch, status, units, events and version", name)
	}
}

// parse parses a command's flags; true means that help was asked for and
// printed. No command takes arguments.
func parse(flags *pflag.FlagSet, usage string, args []string, stdout io.Writer) (bool, error) {
	flags.Usage = func() {}
	flags.SetOutput(io.Discard)
	help := flags.BoolP("help", "h", false, "")
	if err := flags.Parse(args); err != nil {
		return false, fmt.Errorf("%w; run \"mirrorcred %s --help\" for the flags", err, flags.Name())
	}
	if *help {
		_, err := io.WriteString(stdout, usage)
		return true, err
	}
	if flags.NArg() > 0 {
		return false, fmt.Errorf("%s takes no argument, and %q is one; run \"mirrorcred %s --help\"", flags.Name(), flags.Arg(0), flags.Name())
	}
	return false, nil
}
