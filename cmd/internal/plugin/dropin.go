package plugin

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// cacheFor is how long the kubelet may cache an answer that does not come from
// a route: an hour, as with acr-credential-provider.
const cacheFor = time.Hour

// anyACR is the key of the anonymous attempt that acr-credential-provider adds
// to each answer, for registries with anonymous pulls.
const anyACR = "*.azurecr.*"

// byFlags answers as acr-credential-provider does: for ACR images, and for
// those that --registry-mirror=source:target makes ACR images.
func (n *node) byFlags(ctx context.Context, o options) (credential.Response, error) {
	mappings, faults := credential.ParseMappings(o.mirrors)
	n.notes = append(n.notes, faults...)
	// azure.json is read for every image, so that a node without it fails at once
	// and not only at the first private image.
	config, err := await(n, "azure.json; look for a dead mount", func() (azure.Config, error) { return n.azureConfig(o.azureJSON) })
	if err != nil {
		return credential.Response{}, withCode(audit.Misconfigured, err)
	}
	served, mapping := credential.Apply(mappings, n.request.Image)
	image, err := mirror.ParseImage(served)
	if err != nil {
		return credential.Response{}, withCode(audit.BadRequest, fmt.Errorf("image %q: %w", n.request.Image, err))
	}
	source := azure.New(config, n.azure)
	host, ok, err := source.LoginServer(ctx, image)
	if err != nil {
		return credential.Response{}, withCode(audit.Misconfigured, fmt.Errorf("no credential for %s: %w", n.request.Image, err))
	}
	if !ok {
		return credential.Response{CacheKey: credential.CacheByRegistry}, nil
	}
	mirrored := mapping != credential.Mapping{}
	query := credential.Query{Registry: host, Image: image.Name()}
	if !mirrored { // mirrors use the node's identity, not the pod's
		query = n.withPod(query)
	}
	if id, secret, ok := config.ServicePrincipal(); ok && !mirrored && query.ServiceAccountToken == "" {
		return servicePrincipal(host, credential.Credential{Username: id, Password: secret}), nil
	}
	got, err := n.ask(ctx, mirror.Credential{Kind: mirror.Azure}, source, query)
	if err != nil {
		return credential.Response{}, fmt.Errorf("no credential for %s at %s: %w", n.request.Image, host, err)
	}
	auth := map[string]credential.Credential{anyACR: {}, host.String(): got[0]}
	if mirrored {
		auth[mapping.Source] = got[0]
	}
	return credential.Response{CacheKey: cacheKey(mappings, n.request.Image), CacheFor: cacheFor, Auth: auth}, nil
}

// cacheKey returns how the kubelet may cache the answer for an image. Its cache
// by registry ignores paths: if the source of a mirror has a path, the answer
// for docker.io/library would be used for all of docker.io for an hour.
func cacheKey(mappings []credential.Mapping, image string) credential.CacheKey {
	host, _, _ := strings.Cut(image, "/")
	for _, m := range mappings {
		if strings.HasPrefix(m.Source, host+"/") {
			return credential.CacheByImage
		}
	}
	return credential.CacheByRegistry
}

// servicePrincipal answers a direct ACR image as acr-credential-provider does,
// without a request: with the id and secret for the registries of all clouds,
// and for a login server that those keys do not match, such as one of a region,
// of a private cloud, or with a port.
func servicePrincipal(host mirror.Host, c credential.Credential) credential.Response {
	auth := map[string]credential.Credential{anyACR: {}}
	for _, cloud := range []string{"io", "cn", "de", "us"} {
		auth["*.azurecr."+cloud] = c
	}
	_, parent, _ := strings.Cut(host.String(), ".")
	if _, ok := auth["*."+parent]; !ok {
		auth[host.String()] = c
	}
	return credential.Response{CacheKey: credential.CacheByRegistry, CacheFor: cacheFor, Auth: auth}
}
