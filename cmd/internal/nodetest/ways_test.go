package nodetest_test

import (
	"context"

	remotes17 "github.com/containerd/containerd/remotes"
	docker17 "github.com/containerd/containerd/remotes/docker"
	config17 "github.com/containerd/containerd/remotes/docker/config"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
)

// ways are containerd's ways to pull: the docker resolver of 2.4 and that of
// 1.7, and the transfer service of 2.4.
var ways = map[string]nodetest.Way{
	"resolver":     nodetest.Resolver,
	"resolver 1.7": resolver17,
	"transfer":     transfer,
}

func resolver17(ctx context.Context, hostsDir, reference string, c nodetest.Credential) (nodetest.Registry, error) {
	resolver := docker17.NewResolver(docker17.ResolverOptions{Hosts: config17.ConfigureHosts(ctx, config17.HostOptions{
		HostDir:     config17.HostDirFromRoot(hostsDir),
		Credentials: func(string) (string, string, error) { return c.Username, c.Password, nil },
	})})
	return registry17{resolver, reference}, nil
}

type registry17 struct {
	remotes17.Resolver
	reference string
}

func (r registry17) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return r.Resolver.Resolve(ctx, r.reference)
}

func (r registry17) Fetcher(ctx context.Context, name string) (nodetest.Fetcher, error) {
	return r.Resolver.Fetcher(ctx, name)
}

// transfer is the way of containerd's transfer service (containerd v2.4.2,
// internal/cri/server/images/image_pull.go, pullImageWithTransferService).
func transfer(ctx context.Context, hostsDir, reference string, c nodetest.Credential) (nodetest.Registry, error) {
	r, err := registry.NewOCIRegistry(ctx, reference, registry.WithHostDir(hostsDir), registry.WithCredentials(credentials(c)))
	return transferRegistry{r}, err
}

type credentials nodetest.Credential

func (c credentials) GetCredentials(_ context.Context, _, host string) (registry.Credentials, error) {
	return registry.Credentials{Host: host, Username: c.Username, Secret: c.Password}, nil
}

type transferRegistry struct{ *registry.OCIRegistry }

func (r transferRegistry) Fetcher(ctx context.Context, name string) (nodetest.Fetcher, error) {
	return r.OCIRegistry.Fetcher(ctx, name)
}
