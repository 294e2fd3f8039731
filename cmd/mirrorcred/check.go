package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/check"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

const checkUsage = `Usage: mirrorcred check [--probe [--image IMAGE]] [FLAGS]

Looks at everything on this node that would make a pull go wrong: the map, how
containerd is configured, every hosts.toml of any program, the kubelet's
providers, the plugin, and the files of the credentials. Each finding has a name
that does not change, a place, what it does to pulls, and the one thing to do. It
changes nothing. Run it as root to see everything.

      --probe        also ask the registries: run the plugin as the kubelet does, log
                     in with what it answers, and ask for the image that was pulled
                     last through each mirror, without its content. The sources of
                     mirrors are never asked.
      --image IMAGE  with --probe, ask for this image only
      --map FILE     the map (default /etc/mirrorcred/mirrors.toml, or else
                     /etc/mirrorcred/delivered/mirrors.toml, below --root)
      --root DIR     take all paths as below DIR; no running program is asked then
      --json         print the findings as JSON
  -h, --help         print this text

Exit code: 0 nothing is wrong; 1 something is; 2 warnings only.

Example:
  mirrorcred check
  mirrorcred check --probe --image mcr.microsoft.com/oss/kubernetes/pause:3.9
`

// runCheck is the command check.
func runCheck(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("check", pflag.ContinueOnError)
	asJSON := flags.Bool("json", false, "")
	mapFile := flags.String("map", "", "")
	probes := flags.Bool("probe", false, "")
	image := flags.String("image", "", "")
	flags.String("root", "", "")
	if done, err := parse(flags, checkUsage, args, stdout); done || err != nil {
		return err
	}
	dir, err := rootFlag(flags)
	if err != nil {
		return err
	}
	o := check.Options{Root: dir, Map: *mapFile, Version: version}
	if dir == "" {
		o.Watcher = func(ctx context.Context) (check.Watcher, error) {
			s, err := watch.ReadStatus(ctx, nil, statusSocket)
			return check.Watcher{Version: s.Version, Degraded: s.Degraded}, err
		}
		o.Deliverer = deliverer
	}
	if *probes || *image != "" {
		if o.Probe, err = newProbe(dir, *probes, *image); err != nil {
			return err
		}
	}
	found := check.Node(ctx, o)
	if *asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(struct {
			Findings []check.Finding `json:"findings"`
		}{found})
	} else {
		err = printFindings(stdout, found)
	}
	if err != nil {
		return err
	}
	return checkCode(found)
}

// checkCode returns the exit code for the findings, which come errors first.
func checkCode(found []check.Finding) error {
	switch {
	case len(found) == 0 || found[0].Severity == doctor.Note:
		return nil
	case found[0].Severity == doctor.Warning:
		return exit(2)
	}
	return exit(1)
}

// printFindings prints findings for a person, four short lines each.
func printFindings(w io.Writer, found []check.Finding) error {
	p := printer{w: w}
	tally := map[doctor.Severity]int{}
	for _, f := range found {
		tally[f.Severity]++
		p.printf("%-8s %s\n", f.Severity, f.Name)
		if f.Where != "" {
			p.printf("         %s\n", f.Where)
		}
		p.folded("         ", f.Text)
		if f.Repair != "" {
			p.folded("    fix: ", f.Repair)
		}
		p.printf("\n")
	}
	if len(found) == 0 {
		p.printf("nothing is wrong\n")
		return p.err
	}
	p.printf("%s, %s, %s\n", count(tally[doctor.Error], "error"), count(tally[doctor.Warning], "warning"), count(tally[doctor.Note], "note"))
	return p.err
}

// folded prints a text in lines of at most 80 columns, the first behind a label.
// A longer word, such as a path, is not cut.
func (p *printer) folded(label, text string) {
	for _, line := range fold(label, text, 80) {
		p.printf("%s\n", line)
	}
}
