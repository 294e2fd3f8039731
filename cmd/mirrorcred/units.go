package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/systemd"
)

const unitsUsage = `Usage: mirrorcred units [FLAGS]

Prints the systemd units of mirrorcred, or installs them: mirrorcred.service runs
"mirrorcred watch", mirrorcred-apply.service runs "mirrorcred apply" once at
boot, for nodes that want no daemon. A node enables one of the two. Both have no
network: mirrorcred-deliver.path starts "mirrorcred deliver" for them while the
map needs registries to be asked.

      --install       write them instead of printing them; an edited one stays (use
                      drop-ins for changes)
  -n, --dry-run       with --install, change nothing; print which files would be
                      written
      --program PATH  the path of mirrorcred on the node (default /usr/local/bin/mirrorcred)
      --root DIR      write them below DIR
  -h, --help          print this text

Exit code: 0 all are installed; 1 an error, or an edited one stays.

Example:
  mirrorcred units --install -n                            # look first
  mirrorcred units --install && systemctl daemon-reload &&
    systemd-tmpfiles --create && systemctl enable --now mirrorcred
`

// runUnits is the command units.
func runUnits(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("units", pflag.ContinueOnError)
	install := flags.Bool("install", false, "")
	dryRun := flags.BoolP("dry-run", "n", false, "")
	program := flags.String("program", "", "")
	flags.String("root", "", "")
	if done, err := parse(flags, unitsUsage, args, stdout); done || err != nil {
		return err
	}
	root, err := rootFlag(flags)
	if err != nil {
		return err
	}
	if *dryRun && !*install {
		return errors.New("-n is for --install; without that, units only prints")
	}
	units, err := systemd.Units(*program)
	if err != nil {
		return err
	}
	n := node.New(root, "", false)
	p := unitPrinter{printer: printer{w: stdout}, dryRun: *dryRun}
	for _, unit := range units {
		if !*install {
			p.printf("# %s\n%s\n", unit.Path, unit.Data)
			continue
		}
		if err := installUnit(n, &p, unit, filepath.Join(root, unit.Path)); err != nil {
			return err
		}
	}
	if p.kept {
		return errors.Join(p.err, exit(1))
	}
	return p.err
}

// installUnit writes a unit. A file that the operator has edited stays; the
// message says to use a drop-in.
func installUnit(n *node.Node, p *unitPrinter, unit systemd.Unit, place string) error {
	old, err := n.Installed(unit.Path)
	var link *node.LinkError
	switch {
	case errors.As(err, &link):
		p.keep("%s: it is a link to %s, which stays; to install the unit, remove the link and run this again\n", place, link.To)
		return nil
	case err != nil:
		return err
	case bytes.Equal(old, unit.Data):
		p.printf("kept  %s\n", place)
		return nil
	case old != nil && systemd.Edited(old):
		p.keep("%s: it was edited, or another program wrote it, so it stays; %s, remove the file and run this again\n", place, dropIn(unit))
		return nil
	}
	if p.dryRun {
		p.printf("would write %s\n", place)
		return nil
	}
	if err := n.Install(unit.Path, unit.Data, 0o644); err != nil {
		return err
	}
	p.printf("wrote %s\n", place)
	return nil
}

// dropIn says where to put changes of a file.
func dropIn(unit systemd.Unit) string {
	if filepath.Ext(unit.Name) == ".service" {
		return "move the changes into a drop-in: systemctl edit " + strings.TrimSuffix(unit.Name, ".service")
	}
	return "move the changes into another file in " + filepath.Dir(unit.Path)
}

// A unitPrinter remembers whether an outdated unit was kept.
type unitPrinter struct {
	printer
	dryRun, kept bool
}

func (p *unitPrinter) keep(format string, args ...any) {
	p.kept = true
	p.printf("conflict  "+format, args...)
}
