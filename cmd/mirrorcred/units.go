package main

import (
	"context"
	"io"
	"path/filepath"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/systemd"
)

const unitsUsage = `Usage: mirrorcred units [FLAGS]

Prints the systemd units of mirrorcred, or installs them: mirrorcred.service runs
"mirrorcred watch", mirrorcred-apply.service runs "mirrorcred apply" once at
boot, for nodes that want no daemon. A node enables one of the two.

  --install        write them instead of printing them
  --program PATH   where mirrorcred is on the node (default /usr/local/bin/mirrorcred)
  --root DIR       write them below DIR
  -h, --help       print this text

Example:
  mirrorcred units --install && systemctl daemon-reload &&
    systemd-tmpfiles --create && systemctl enable --now mirrorcred
`

// runUnits is the command units.
func runUnits(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("units", pflag.ContinueOnError)
	install := flags.Bool("install", false, "")
	program := flags.String("program", "", "")
	root := flags.String("root", "", "")
	if done, err := parse(flags, unitsUsage, args, stdout); done || err != nil {
		return err
	}
	units, err := systemd.Units(*program)
	if err != nil {
		return err
	}
	n := node.New(*root, "", false)
	p := printer{w: stdout}
	for _, unit := range units {
		if !*install {
			p.printf("# %s\n%s\n", unit.Path, unit.Data)
			continue
		}
		if err := n.Install(unit.Path, unit.Data, 0o644); err != nil {
			return err
		}
		p.printf("wrote %s\n", filepath.Join(*root, unit.Path))
	}
	return p.err
}
