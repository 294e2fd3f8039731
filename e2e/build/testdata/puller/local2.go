package main

import (
	"context"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// openLocal returns the image's registry as the CRI of containerd 2 makes it if it
// pulls by itself.
func openLocal(ctx context.Context, p pull) registry {
	return local{docker.NewResolver(docker.ResolverOptions{
		Hosts: config.ConfigureHosts(ctx, config.HostOptions{
			HostDir:     config.HostDirFromRoot(p.HostsDir),
			Credentials: p.credentials,
		}),
	}), p.Image}
}

type local struct {
	remotes.Resolver
	image string
}

func (l local) resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return l.Resolve(ctx, l.image)
}

func (l local) fetcher(ctx context.Context, name string) (fetcher, error) {
	return l.Fetcher(ctx, name)
}
