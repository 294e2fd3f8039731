package main

import (
	"context"

	oci "github.com/containerd/containerd/v2/core/transfer/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// open returns the image's registry, which from containerd 2.1 on may be the
// transfer service's.
func open(ctx context.Context, p pull) (registry, error) {
	if !p.Transfer {
		return openLocal(ctx, p), nil
	}
	r, err := oci.NewOCIRegistry(ctx, p.Image, oci.WithHostDir(p.HostsDir), oci.WithCredentials(p))
	return transferred{r}, err
}

// GetCredentials is the callback in the transfer service's form.
func (p pull) GetCredentials(_ context.Context, _, host string) (oci.Credentials, error) {
	return oci.Credentials{Host: host, Username: p.Username, Secret: p.Password}, nil
}

type transferred struct{ *oci.OCIRegistry }

func (r transferred) resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return r.Resolve(ctx)
}

func (r transferred) fetcher(ctx context.Context, name string) (fetcher, error) {
	return r.Fetcher(ctx, name)
}
