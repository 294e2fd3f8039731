package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/probe"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// newProbe returns what asks the registries of a map for "mirrorcred check --probe":
// for one image, or for the last of each mirror if that is empty.
func newProbe(root string, wanted bool, text string) (func(context.Context, *mirror.Map) []doctor.Finding, error) {
	if !wanted {
		return nil, errors.New("--image is for --probe; add that")
	}
	var image mirror.Image
	if text != "" {
		var err error
		if image, err = mirror.ParseImage(text); err != nil {
			return nil, fmt.Errorf("--image %q: %w", text, err)
		}
	}
	return func(ctx context.Context, m *mirror.Map) []doctor.Finding {
		place, err := placeIn(root, m)
		if err != nil {
			return nil // the version in the map, which the plan judges
		}
		p := &probe.Prober{
			Mirrors: m, Place: place, Log: pluginLog(input.NewRoot(root), root, m.Kubelet.AuditLog),
			Runner: provider.Runner{Root: root, BinDir: m.Kubelet.BinDir, Env: environment(root)},
			Proxy:  client.Proxy(containerdEnvironment(root)),
		}
		if text != "" {
			return p.Image(ctx, image)
		}
		return p.All(ctx)
	}, nil
}

// containerdEnvironment returns the environment of the containerd that runs, which
// names the proxy of its pulls; that of this process if it cannot be seen.
func containerdEnvironment(root string) []string {
	if root != "" {
		return os.Environ()
	}
	found, _, err := process.Proc.Find("containerd", "k3s-server", "k3s-agent", "rke2", "kubelite")
	if err != nil || len(found) == 0 {
		return os.Environ()
	}
	env, err := process.Proc.Environment(found[0].PID)
	if err != nil {
		return os.Environ()
	}
	return env
}
