package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/cmd/internal/pull"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const pullUsage = `Usage: mirrorcred pull [FLAGS] [IMAGE...]

Pulls images as the kubelet does: it runs the credential plugin as the kubelet's
configuration says, and has containerd pull with what the plugin answers. It waits
for a containerd that is just starting, and tries again what may work later, but
not an image that the registry refuses (401, 403) or does not have (404). An image
whose registry the map does not name is refused, and so is one that would come from
another registry than the map says.

      --sandbox      also pull the pause image of containerd's configuration, which
                     containerd itself pulls without a credential, and check that it
                     is pinned, so that the kubelet does not remove it
      --from FILE    also pull the images in FILE, one a line; "#" begins a comment,
                     and "-" is standard input
      --any          also pull images whose registry the map does not name
      --timeout D    give up after this time, for all images together (default 5m)
      --map FILE     the map (default /etc/mirrorcred/mirrors.toml, or else
                     /etc/mirrorcred/delivered/mirrors.toml, below --root)
      --root DIR     take all paths as below DIR, containerd's socket too
      --json         print what became of each image as JSON
  -h, --help         print this text

On a terminal it shows how much of the layers has been downloaded. Exit code: 0 all
images are there, and the pause image is pinned; 1 one is not, and the text says why
and what to do.

Examples:
  mirrorcred pull --sandbox
  mirrorcred pull --timeout 2m mcr.microsoft.com/oss/kubernetes/kube-proxy:v1.34.2
`

// A pullRequest is what the command line asks for.
type pullRequest struct {
	root, mapFile string
	sandbox, any  bool
	images        []mirror.Image
	timeout       time.Duration
	json          bool
}

// runPull is the command pull.
func runPull(ctx context.Context, args []string, stdout io.Writer) error {
	r, err := parsePull(args, stdout)
	if err != nil || r == nil {
		return err
	}
	m, place, err := readPlace(r.root, r.mapFile)
	if err != nil {
		return err
	}
	ctx, stop := untilSignal(ctx)
	defer stop()
	limited, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	images, err := containerd.OpenImages(filepath.Join(r.root, "/", m.Containerd.Address))
	if err != nil {
		return err
	}
	defer images.Close()
	if err := images.Ready(limited); err != nil {
		return cmp.Or(interrupted(ctx, "stopped while waiting for containerd"), err)
	}
	screen := &screen{w: os.Stderr, terminal: isTerminal(os.Stderr)}
	p := &pull.Puller{
		Store: images, Map: m, Place: place, Any: r.any,
		Runner: provider.Runner{Root: r.root, BinDir: m.Kubelet.BinDir, Env: environment(r.root)},
		Retrying: func(image mirror.Image, err error, in time.Duration) {
			screen.line("mirrorcred: %s: %v; trying again in %s", image, err, in.Round(100*time.Millisecond))
		},
	}
	results, err := pullAll(limited, p, r, m, images, screen, stdout)
	if err != nil {
		return cmp.Or(interrupted(ctx, "stopped"), err)
	}
	return cmp.Or(interrupted(ctx, "stopped; not everything is pulled"), pullCode(stdout, r.json, results))
}

// parsePull parses the command line, and the file that it names; nil means that
// help was asked for.
func parsePull(args []string, stdout io.Writer) (*pullRequest, error) {
	flags := pflag.NewFlagSet("pull", pflag.ContinueOnError)
	r := &pullRequest{}
	flags.BoolVar(&r.sandbox, "sandbox", false, "")
	flags.BoolVar(&r.any, "any", false, "")
	flags.BoolVar(&r.json, "json", false, "")
	flags.DurationVar(&r.timeout, "timeout", 5*time.Minute, "")
	flags.StringVar(&r.mapFile, "map", "", "")
	from := flags.String("from", "", "")
	flags.String("root", "", "")
	if done, err := parseFlags(flags, pullUsage, args, stdout); done || err != nil {
		return nil, err
	}
	var err error
	if r.root, err = rootFlag(flags); err != nil {
		return nil, err
	}
	if r.timeout <= 0 {
		return nil, fmt.Errorf("--timeout=%s: write a time above 0, such as 5m", r.timeout)
	}
	var faults []error
	for _, text := range flags.Args() {
		image, err := mirror.ParseImage(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("image %q: %w", text, err))
		}
		r.images = append(r.images, image)
	}
	if flags.Changed("from") {
		more, err := imagesFrom(*from)
		r.images, faults = append(r.images, more...), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	if len(r.images) == 0 && !r.sandbox {
		return nil, errors.New("name an image, such as docker.io/library/nginx:1.29, or --sandbox")
	}
	return r, nil
}

// imagesFrom reads a list of images, one a line.
func imagesFrom(name string) ([]mirror.Image, error) {
	var data []byte
	var err error
	if name == "-" {
		name = "standard input"
		data, err = io.ReadAll(io.LimitReader(os.Stdin, input.Max))
	} else {
		data, err = input.ReadFile(name, 0)
	}
	if err != nil {
		return nil, err
	}
	var images []mirror.Image
	var faults []error
	lines := bufio.NewScanner(strings.NewReader(string(data)))
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		image, err := mirror.ParseImage(text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s:%d: image %q: %w", name, n, text, err))
			continue
		}
		images = append(images, image)
	}
	if err := lines.Err(); err != nil {
		faults = append(faults, fmt.Errorf("%s: %w; write one image a line", name, err))
	}
	return images, errors.Join(faults...)
}

// pullAll pulls everything that is asked for, one after the other, and prints what
// became of each as it ends.
func pullAll(ctx context.Context, p *pull.Puller, r *pullRequest, m *mirror.Map, images *containerd.Images, s *screen, stdout io.Writer) ([]pull.Result, error) {
	results := []pull.Result{}
	one := func(name string, pull1 func() pull.Result) error {
		stop := func() {}
		if s.terminal {
			stop = pull.Watch(ctx, images.Ingests, func(text string) { s.progress(name, text) })
		}
		result := pull1()
		stop()
		s.clear()
		results = append(results, result)
		if r.json {
			return nil
		}
		return printResult(stdout, result)
	}
	if r.sandbox {
		observer := containerd.Observer{Root: r.root, Wanted: m.Containerd, Dry: true}
		sandbox, err := observer.Sandbox(ctx)
		if err != nil {
			return nil, fmt.Errorf("pause image: %w", err)
		}
		if err := one(sandbox.Image, func() pull.Result { return p.Sandbox(ctx, sandbox) }); err != nil {
			return nil, err
		}
	}
	for _, image := range r.images {
		if err := one(image.String(), func() pull.Result { return p.Pull(ctx, image) }); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// printResult prints one line for an image, and two more for one that failed.
func printResult(w io.Writer, r pull.Result) error {
	p := printer{w: w}
	what := "pulled"
	switch {
	case !r.Pulled:
		what = "FAILED"
	case r.Present:
		what = "present"
	}
	facts := []string{}
	if r.Digest != "" {
		facts = append(facts, r.Digest)
	}
	if r.Size > 0 {
		facts = append(facts, pull.Bytes(int64(r.Size)))
	}
	if r.Pinned {
		facts = append(facts, "pinned")
	}
	p.printf("%-8s %s", what, r.Image)
	if len(facts) > 0 {
		p.printf(" (%s)", strings.Join(facts, ", "))
	}
	p.printf("\n")
	if r.Error != "" {
		p.folded("         ", r.Error)
		p.folded("    fix: ", r.Remedy)
	}
	return p.err
}

// pullCode prints the results as JSON, if that is wanted, and returns the exit code.
func pullCode(stdout io.Writer, asJSON bool, results []pull.Result) error {
	if asJSON {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(map[string][]pull.Result{"images": results}); err != nil {
			return err
		}
	}
	for _, r := range results {
		if r.Error != "" {
			return exit(1)
		}
	}
	return nil
}

// readPlace reads the map, and returns where it says that the node has its things.
func readPlace(root, file string) (*mirror.Map, explain.Place, error) {
	m, err := node.New(root, file, false).ParseMap()
	if err != nil {
		return nil, explain.Place{}, err
	}
	place, err := placeIn(root, m)
	return m, place, err
}

// placeIn returns where a map says that the node has its things.
func placeIn(root string, m *mirror.Map) (explain.Place, error) {
	version, err := hosts.ParseVersion(m.Containerd.Version)
	return explain.Place{Root: root, KubeletConfig: m.Kubelet.Config, HostsDir: m.Containerd.HostsDir, Version: version}, err
}

// environment returns the kubelet's environment, nil if the node is not this
// machine.
func environment(root string) []string {
	if root != "" {
		return nil
	}
	return provider.Environment()
}
