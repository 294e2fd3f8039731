package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const explainUsage = `Usage: mirrorcred explain [FLAGS] IMAGE

Says what happens when this node pulls an image, in the order in which it happens:
which credential providers the kubelet runs, what mirrorcred's plugin may answer,
which hosts.toml containerd reads, which registries it calls, who is offered which
credential, and what the registry sees that the image names. It reads what is in
force on the node now, which may not be what the map says; no registry is asked.

      --live      also run mirrorcred's plugin as the kubelet does, and print what
                  it answers, each secret as its length and when it expires
      --map FILE  the map (default /etc/mirrorcred/mirrors.toml, or else
                  /etc/mirrorcred/delivered/mirrors.toml, below --root)
      --root DIR  take all paths as below DIR
      --json      print it as JSON
  -h, --help      print this text

Exit code: 0 the image can be pulled as far as the files say; 1 a fault that makes
the pull fail or go elsewhere, or an error.

Example:
  mirrorcred explain mcr.microsoft.com/oss/kubernetes/pause:3.9
`

// runExplain is the command explain.
func runExplain(ctx context.Context, args []string, stdout io.Writer) error {
	flags := pflag.NewFlagSet("explain", pflag.ContinueOnError)
	live := flags.Bool("live", false, "")
	asJSON := flags.Bool("json", false, "")
	mapFile := flags.String("map", "", "")
	flags.String("root", "", "")
	if done, err := parseFlags(flags, explainUsage, args, stdout); done || err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("name one image, such as docker.io/library/nginx:1.29")
	}
	image, err := mirror.ParseImage(flags.Arg(0))
	if err != nil {
		return fmt.Errorf("image %q: %w", flags.Arg(0), err)
	}
	dir, err := rootFlag(flags)
	if err != nil {
		return err
	}
	if *live && dir != "" {
		return errors.New("--live runs the plugin of this machine; leave out --root")
	}
	place, binDir, err := placeOf(dir, *mapFile)
	if err != nil {
		return err
	}
	seen := explain.Observe(place, image)
	e := explain.Explain(seen)
	if *live {
		if answers, ran := explain.Run(ctx, provider.Runner{BinDir: binDir, Env: provider.Environment()}, seen.Providers, image); ran {
			e.Plugin.Live = &answers
			e.Works = e.Works && (answers.Fault == "" || len(answers.Answers) > 0)
		}
	}
	if *asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		err = encoder.Encode(e)
	} else {
		err = printExplanation(stdout, e)
	}
	if err == nil && !e.Works {
		err = exit(1)
	}
	return err
}

// placeOf returns the paths in the map. Without a map they are the defaults.
func placeOf(root, file string) (explain.Place, string, error) {
	place := explain.Place{Root: root, KubeletConfig: mirror.DefaultKubeletConfig, HostsDir: mirror.DefaultHostsDir}
	binDir := mirror.DefaultBinDir
	m, err := node.New(root, file, false).ParseMap()
	if file == "" && errors.Is(err, fs.ErrNotExist) {
		return place, binDir, nil
	}
	if err != nil {
		return place, binDir, err
	}
	place.KubeletConfig, place.HostsDir = m.Kubelet.Config, m.Containerd.HostsDir
	if place.Version, err = hosts.ParseVersion(m.Containerd.Version); err != nil {
		return place, binDir, err
	}
	return place, m.Kubelet.BinDir, nil
}

// printExplanation prints one screen for a person.
func printExplanation(w io.Writer, e explain.Explanation) error {
	p := printer{w: w}
	say := func(label, format string, args ...any) {
		p.printf("%-11s %s\n", label, fmt.Sprintf(format, args...))
	}
	p.printf("%s\n\n", e.Image)
	label := "kubelet"
	if e.Kubelet.Fault != "" {
		say(label, "%s", e.Kubelet.Fault)
		label = ""
	}
	for _, m := range e.Kubelet.Matches {
		say(label, "runs %s, since %q matches", m.Provider, m.Pattern)
		say("", "(%s:%d)", e.Kubelet.Config, m.Line)
		label = ""
	}
	if label != "" {
		say(label, "runs no provider: no pattern in %s matches", e.Kubelet.Config)
	}
	explainPlugin(say, e.Plugin)
	explainContainerd(say, e)
	for i, c := range e.Calls {
		say(fmt.Sprint(i+1), "%s", c.URL)
		if c.Limits != "" {
			say("", "%s", c.Limits)
		}
		if len(c.Offered) > 0 {
			say("", "if it wants a login, it is offered %s", strings.Join(c.Offered, " and "))
		} else {
			say("", "it is offered no credential")
		}
		if i < len(e.Calls)-1 {
			say("", "if it fails or has no such image: %d", i+2)
		} else {
			say("", "if it fails or has no such image, the pull fails")
		}
	}
	say("source", "%s", e.Source)
	if !e.Works {
		p.printf("\nThis pull fails, or does not go where the map sends it.\n")
	}
	return p.err
}

func explainPlugin(say func(label, format string, args ...any), plugin explain.Plugin) {
	label := "plugin"
	switch {
	case plugin.Fault != "":
		say(label, "returns nothing: %s", plugin.Fault)
		label = ""
	case plugin.Reason != "":
		say(label, "returns nothing: %s", plugin.Reason)
		label = ""
	}
	for offers := plugin.Offers; len(offers) > 0; label = "" {
		image, names := offers[0].Image, []string{}
		for ; len(offers) > 0 && offers[0].Image == image; offers = offers[1:] {
			names = append(names, cmp.Or(offers[0].Credential, "no credential"))
		}
		if names[0] == "no credential" {
			say(label, "returns no credential for %s", image)
		} else {
			say(label, "answers credential %s for %s", strings.Join(names, ", then "), image)
		}
	}
	if plugin.Route != "" {
		say("", "(route %s)", plugin.Route)
	}
	if plugin.Live == nil {
		return
	}
	if plugin.Live.Fault != "" {
		say("", "it was run: %s", plugin.Live.Fault)
	} else if len(plugin.Live.Answers) == 0 {
		say("", "it was run, and returned nothing")
	}
	for _, a := range plugin.Live.Answers {
		end := ""
		if a.Expires != "" {
			end = ", until " + a.Expires
		}
		say("", "it was run: %s, user %q, a secret of %d characters%s", a.Key, a.Username, a.Length, end)
	}
}

func explainContainerd(say func(label, format string, args ...any), e explain.Explanation) {
	c := e.Containerd
	switch {
	case c.Namespace == "" && c.Fault == "":
		say("containerd", "finds no directory in %s for it", c.Dir)
	case c.Namespace != "":
		say("containerd", "reads %s", filepath.Join(c.Dir, c.Namespace, hosts.FileName))
		say("", "written by %s", c.Writer)
		if len(c.Missing) > 0 {
			say("", "since there is no %s", strings.Join(c.Missing, " and no "))
		}
	}
	if c.Fault != "" {
		say("", "%s", c.Fault)
	}
	if c.Unsure != "" {
		say("", "if it reads %s at all: %s", c.Dir, c.Unsure)
	}
}
