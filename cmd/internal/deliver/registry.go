package deliver

import (
	"context"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// ProveBy returns what proves a header at a want's registry, for [Deliverer.Prove].
// prover is asked for each proof, since containerd may be another one by then, and
// secret reads a header that the map takes from a file.
func ProveBy(prover func(context.Context) prove.Prover, secret func(file string) (string, error)) func(context.Context, Want, credential.Secret) (prove.Proof, error) {
	return func(ctx context.Context, w Want, authorization credential.Secret) (prove.Proof, error) {
		e, err := endpoint(w.Target, secret)
		if err != nil {
			return prove.Proof{}, err
		}
		r := prove.Registry{Endpoint: e, TokenHost: w.Target.TokenHost, Identity: w.Credential.Kind == mirror.Azure}
		return prover(ctx).Prove(ctx, r, authorization)
	}
}

// endpoint returns a target as containerd dials it, with its further headers.
func endpoint(t mirror.Target, secret func(file string) (string, error)) (hosts.Endpoint, error) {
	e := client.Endpoint(t)
	for _, h := range t.Settings.Header {
		values := h.Values
		switch {
		case h.Delivered != "":
			continue // it is what will be proved
		case h.File != "":
			value, err := secret(h.File)
			if err != nil {
				return e, err
			}
			values = []string{value}
		}
		e.Header[h.Name] = values
	}
	return e, nil
}
