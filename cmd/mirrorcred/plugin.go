package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

const pluginUsage = `Usage: mirrorcred plugin [FLAGS]

Shows where this node has the plugin: the entries of kubelet configurations that
name it, and the copies in the kubelets' directories. It looks where the map, the
running kubelets and the files that start them point, and in the usual places.

      --unused        exit with 1 if a kubelet configuration names the plugin; a
                      package asks this before it is removed
      --refresh FILE  put the plugin FILE in the place of each copy, whole or not at
                      all; other programs and links stay. A package does this when it
                      is installed
  -n, --dry-run       with --refresh, change nothing; print which copies would be
                      replaced
      --json          print what was found as JSON
      --map FILE      the mirror map (default /etc/mirrorcred/mirrors.toml, or else
                      /etc/mirrorcred/delivered/mirrors.toml)
      --root DIR      take all paths but FILE as below DIR
  -h, --help          print this text

Exit code: 0 done; 1 an error, or with --unused, it is in use.

Example:
  mirrorcred plugin
  mirrorcred plugin -n --refresh /usr/libexec/mirrorcred/mirror-credential-provider
`

// runPlugin is the command plugin.
func runPlugin(_ context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("plugin", pflag.ContinueOnError)
	unused := flags.Bool("unused", false, "")
	refresh := flags.String("refresh", "", "")
	dryRun := flags.BoolP("dry-run", "n", false, "")
	asJSON := flags.Bool("json", false, "")
	mapFile := flags.String("map", "", "")
	flags.String("root", "", "")
	if done, err := parse(flags, pluginUsage, args, stdout); done || err != nil {
		return err
	}
	root, err := rootFlag(flags)
	if err != nil {
		return err
	}
	n := node.New(root, *mapFile, false)
	switch {
	case *unused && flags.Changed("refresh"):
		return errors.New("--unused and --refresh are two questions; give one of them")
	case *dryRun && !flags.Changed("refresh"):
		return errors.New("-n is for --refresh; without that, plugin changes nothing")
	case flags.Changed("refresh"):
		return refreshPlugin(n, *refresh, *dryRun, stdout)
	}
	found, err := n.Placement()
	if err != nil {
		return err
	}
	if *unused {
		return inUse(root, found)
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(found)
	}
	p := printer{w: stdout}
	for _, e := range found.Named {
		p.printf("%s names %s\n", entryPlace(root, e), e.Name)
	}
	for _, c := range found.Copies {
		what := "is another program, or a link"
		if c.Ours {
			what = "is mirrorcred's plugin"
		}
		p.printf("%s %s\n", filepath.Join(root, c.Path), what)
	}
	if len(found.Named)+len(found.Copies) == 0 {
		p.printf("no kubelet here has the plugin\n")
	}
	return p.err
}

// mostPlugin is the largest plugin that is read, in bytes.
const mostPlugin = 128 << 20

// refreshPlugin is plugin --refresh.
func refreshPlugin(n *node.Node, file string, dryRun bool, stdout io.Writer) error {
	program, err := input.ReadFile(file, mostPlugin)
	if err != nil {
		return err
	}
	refresh, did := n.RefreshPlugin, "wrote"
	if dryRun {
		refresh, did = n.StalePlugins, "would write"
	}
	changed, err := refresh(program)
	if errors.Is(err, node.ErrNotPlugin) {
		return fmt.Errorf("%s: %w", file, err)
	}
	p := printer{w: stdout}
	for _, place := range changed {
		p.printf("%s %s\n", did, place)
	}
	return errors.Join(err, p.err)
}

// inUse returns an error if a kubelet's configuration names the plugin.
func inUse(root string, found node.Placement) error {
	if len(found.Named) == 0 {
		return nil
	}
	var places []string
	for _, e := range found.Named {
		places = append(places, entryPlace(root, e))
	}
	return fmt.Errorf("%s: a kubelet with this entry does not start without the plugin; take mirrorcred off this node first: run \"mirrorcred bootstrap undo\", or follow docs/uninstall.md if you set the node up by hand", strings.Join(places, ", "))
}

func entryPlace(root string, e node.Named) string {
	place := filepath.Join(root, e.File)
	if e.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, e.Line)
	}
	return place
}
