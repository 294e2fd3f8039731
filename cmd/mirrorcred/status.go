package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

const statusUsage = `Usage: mirrorcred status [FLAGS]

Asks the watcher of this node how it is: what is applied, since when, what is
pending, draining or held and why, what was left alone, whether changes are
noticed at once, and the last fault.

  --json         print it as JSON
  --root DIR     ask the watcher that runs with the same --root
  --socket FILE  where to ask (default /run/mirrorcred/status.sock below --root)
  -h, --help     print this text

Exit code: 0 the node is in step; 2 something is pending, draining or held; 1 a
fault, a file in the way that is not ours, or no watcher. Without a watcher,
"mirrorcred apply -n" says what is not in step.
`

// runStatus is the command status.
func runStatus(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("status", pflag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	root := flags.String("root", "", "")
	socket := flags.String("socket", "", "")
	if done, err := parse(flags, statusUsage, args, stdout); done || err != nil {
		return err
	}
	if *socket == "" {
		dir, err := absolute(*root)
		if err != nil {
			return err
		}
		*socket = filepath.Join(dir, "/", statusSocket)
	}
	s, err := watch.Ask(ctx, *socket)
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
	return errors.Join(err, statusCode(s))
}

// statusCode returns the exit code of a status.
func statusCode(s watch.Status) error {
	switch {
	case s.Fault != "" || s.Fights || len(s.Left) > 0:
		return exit(1)
	case !s.InStep:
		return exit(2)
	}
	return nil
}

func printStatus(w io.Writer, s watch.Status) error {
	p := printer{w: w}
	state := "in step"
	if !s.InStep {
		state = "not in step"
	}
	p.printf("node      %s, %s\n", state, count(s.Sources, "source"))
	p.printf("map       %s\n", s.Map)
	p.printf("watcher   version %s, process %d, since %s\n", s.Version, s.PID, when(s.Started))
	p.printf("looked    %s\n", when(s.Looked))
	p.printf("changed   %s\n", when(s.Changed))
	p.waits(10, "held", s.Held)
	p.undone(10, s.Pending, s.Draining, s.Left)
	if s.Fights {
		p.printf("fight     somebody else keeps changing the files that mirrorcred writes; see its log\n")
	}
	if s.Deaf != "" {
		p.printf("deaf      some changes are noticed at the next tick only: %s\n", s.Deaf)
	}
	if s.Fault != "" {
		p.printf("fault     %s\n", s.Fault)
	}
	return p.err
}

// when returns a time for a person.
func when(t time.Time) string {
	if t.IsZero() {
		return "not yet"
	}
	return t.Local().Format("2006-01-02 15:04:05") + ", " + time.Since(t).Round(time.Second).String() + " ago"
}
