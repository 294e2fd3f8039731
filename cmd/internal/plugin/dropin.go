package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// cacheFor is how long the kubelet may keep an answer that was not made by a
// route: as acr-credential-provider says, an hour.
const cacheFor = time.Hour

// anyACR is the key of the anonymous attempt that acr-credential-provider adds
// to each answer, for registries that let anybody pull.
const anyACR = "*.azurecr.*"

// byFlags answers as acr-credential-provider does: for ACR images, and for
// those that --registry-mirror=source:target makes ACR images.
func (n *node) byFlags(ctx context.Context, o options) (credential.Response, error) {
	mappings, faults := credential.ParseMappings(o.mirrors)
	n.notes = append(n.notes, faults...)
	// azure.json is read whatever the image, so that a node without one does
	// not look well until the first private image.
	config, err := within(ctx, "azure.json; look for a dead mount", func() (azure.Config, error) { return n.azureConfig(o.azureJSON) })
	if err != nil {
		return credential.Response{}, err
	}
	served, mapping := credential.Apply(mappings, n.request.Image)
	image, err := mirror.ParseImage(served)
	if err != nil {
		return credential.Response{}, fmt.Errorf("image %q: %w", n.request.Image, err)
	}
	host, ok := credential.LoginServer(image)
	if !ok {
		return credential.Response{CacheKey: credential.CacheByRegistry}, nil
	}
	mirrored := mapping != credential.Mapping{}
	if id, secret, ok := config.ServicePrincipal(); ok && !mirrored {
		return servicePrincipal(host, credential.Credential{Username: id, Password: secret}), nil
	}
	if err := n.unsupported(o, mirrored); err != nil {
		return credential.Response{}, err
	}
	c, err := n.ask(ctx, mirror.Credential{Kind: mirror.Azure}, azure.New(config, azure.Options{}), credential.Ask{Registry: host, Image: image.Name()})
	if err != nil {
		return credential.Response{}, fmt.Errorf("no credential for %s at %s: %w", n.request.Image, host, err)
	}
	auth := map[string]credential.Credential{anyACR: {}, host.String(): c}
	if mirrored {
		auth[mapping.Source] = c
	}
	return credential.Response{CacheKey: cacheKey(mappings, n.request.Image), CacheFor: cacheFor, Auth: auth}, nil
}

// cacheKey says what the kubelet may take the answer for an image for. Its
// cache by registry knows no paths: where a mirror's source has one, the answer
// for docker.io/library would be kept for an hour for all of docker.io.
func cacheKey(mappings []credential.Mapping, image string) credential.CacheKey {
	host, _, _ := strings.Cut(image, "/")
	for _, m := range mappings {
		if strings.HasPrefix(m.Source, host+"/") {
			return credential.CacheByImage
		}
	}
	return credential.CacheByRegistry
}

// servicePrincipal answers a direct ACR image as acr-credential-provider does:
// without asking anybody, the id and secret for the registries of all clouds,
// and for the login server of a region, which has more labels than those keys.
func servicePrincipal(host mirror.Host, c credential.Credential) credential.Response {
	auth := map[string]credential.Credential{anyACR: {}}
	for _, cloud := range []string{"io", "cn", "de", "us"} {
		auth["*.azurecr."+cloud] = c
	}
	if strings.Count(host.String(), ".") > 2 || host.Port() != "" {
		auth[host.String()] = c
	}
	return credential.Response{CacheKey: credential.CacheByRegistry, CacheFor: cacheFor, Auth: auth}
}

// unsupported refuses the identities that are not the node's own. A mirrored
// image is always answered with the node's.
func (n *node) unsupported(o options, mirrored bool) error {
	switch {
	case mirrored:
		return nil
	case o.bindings.sni != "":
		return errors.New("--ib-sni-name: identity bindings are not supported; leave the --ib flags out to use the node's identity")
	case n.request.ServiceAccountToken != "":
		return errors.New("the request carries a pod's service-account token, which is not supported for Azure; take tokenAttributes out of the kubelet's CredentialProviderConfig to use the node's identity")
	}
	return nil
}

// azureConfig reads an azure.json.
func (n *node) azureConfig(path string) (azure.Config, error) {
	data, err := n.readOnce(path)
	if err != nil {
		return azure.Config{}, err
	}
	config, err := azure.ReadConfig(data)
	if err != nil {
		return azure.Config{}, fmt.Errorf("%s: %w", n.path(path), err)
	}
	return config, nil
}
