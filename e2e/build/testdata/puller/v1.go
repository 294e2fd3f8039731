package main

import (
	"context"

	"github.com/containerd/containerd/remotes"
	"github.com/containerd/containerd/remotes/docker"
	"github.com/containerd/containerd/remotes/docker/config"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// open returns the image's registry as the CRI of containerd 1.7 makes it.
func open(ctx context.Context, p pull) (registry, error) {
	return local{docker.NewResolver(docker.ResolverOptions{
		Hosts: config.ConfigureHosts(ctx, config.HostOptions{
			HostDir:     config.HostDirFromRoot(p.HostsDir),
			Credentials: p.credentials,
		}),
	}), p.Image}, nil
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
