package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

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
	p := printer{w: stdout}
	for _, unit := range units {
		if !*install {
			p.printf("# %s\n%s\n", unit.Path, unit.Data)
			continue
		}
		path := filepath.Join(*root, "/", unit.Path)
		if *root == "" {
			path = unit.Path
		}
		if err := writeUnit(path, unit.Data); err != nil {
			return err
		}
		p.printf("wrote %s\n", path)
	}
	return p.err
}

// writeUnit writes a unit whole or not at all.
func writeUnit(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("%w; run this as root, or name another --root", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".mirrorcred-*")
	if err != nil {
		return fmt.Errorf("%w; run this as root, or name another --root", err)
	}
	defer os.Remove(f.Name()) // gone already where all went well
	_, err = f.Write(data)
	for _, step := range []func() error{func() error { return f.Chmod(0o644) }, f.Sync, f.Close} {
		if stepErr := step(); err == nil {
			err = stepErr
		}
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
