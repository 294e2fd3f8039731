package main

import (
	"context"
	"errors"
)

// open returns the image's registry. The CRI of containerd 2.0 has no other way.
func open(ctx context.Context, p pull) (registry, error) {
	if p.Transfer {
		return nil, errors.New("the CRI of containerd 2.0 does not pull by the transfer service")
	}
	return openLocal(ctx, p), nil
}
