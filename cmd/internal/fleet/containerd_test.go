package fleet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/google/go-containerregistry/pkg/v1/random"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestPullRequests has containerd's own resolver pull an image with an index and three
// layers: it sends as many requests as the model says, with a credential, without one,
// and to a registry that is too busy.
func TestPullRequests(t *testing.T) {
	cloud, err := azuretest.Start(azuretest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer cloud.Close()
	acr, err := cloud.AddACR("contoso.azurecr.io", azuretest.ACROptions{})
	if err != nil {
		t.Fatal(err)
	}
	index, err := random.Index(1<<10, 3, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := acr.PushIndex("image", "v1", index); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		username, password string
		busy               bool
		want               int
	}{
		"with a credential": {azuretest.DefaultClientID, azuretest.DefaultClientSecret, false, PullRequests},
		"without one":       {"", "", false, refusedRequests},
		"busy":              {azuretest.DefaultClientID, azuretest.DefaultClientSecret, true, mostAttempts},
	} {
		acr.Forget()
		if c.busy {
			acr.Fail("", azuretest.Throttle(30))
		}
		client := &http.Client{Transport: &http.Transport{DialContext: cloud.DialContext, TLSClientConfig: &tls.Config{RootCAs: cloud.RootCAs()}}}
		auth := docker.NewDockerAuthorizer(docker.WithAuthClient(client), docker.WithAuthCreds(func(string) (string, string, error) { return c.username, c.password, nil }))
		err := pull(t.Context(), docker.NewResolver(docker.ResolverOptions{
			Hosts: docker.ConfigureDefaultRegistries(docker.WithClient(client), docker.WithAuthorizer(auth)),
		}), "contoso.azurecr.io/image:v1")
		acr.Repair()
		if (err == nil) != (c.want == PullRequests) {
			t.Errorf("%s: pull = %v", name, err)
		}
		if got := len(acr.Requests()); got != c.want {
			t.Errorf("%s: containerd sends %d requests; want %d: %v", name, got, c.want, acr.Requests())
		}
	}
}

// pull resolves an image and fetches all of it.
func pull(ctx context.Context, r remotes.Resolver, reference string) error {
	name, top, err := r.Resolve(ctx, reference)
	if err != nil {
		return err
	}
	fetcher, err := r.Fetcher(ctx, name)
	if err != nil {
		return err
	}
	for list := []ocispec.Descriptor{top}; len(list) > 0; list = list[1:] {
		body, err := fetcher.Fetch(ctx, list[0])
		if err != nil {
			return err
		}
		data, err := io.ReadAll(body)
		body.Close()
		if err != nil {
			return err
		}
		var parts struct {
			Manifests, Layers []ocispec.Descriptor
			Config            *ocispec.Descriptor
		}
		if json.Unmarshal(data, &parts) != nil {
			continue // a layer
		}
		list = append(append(list, parts.Manifests...), parts.Layers...)
		if parts.Config != nil && parts.Config.Size > 0 {
			list = append(list, *parts.Config)
		}
	}
	return nil
}
