package plugin

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tokens"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/execprovider"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// cached returns a source's answer to a query, from the token cache if possible;
// hit says that the cache had it.
func (n *node) cached(ctx context.Context, c mirror.Credential, source credential.Source, query credential.Query) (got credential.Credential, hit bool, err error) {
	// A credential for a pod's own token belongs to that pod.
	ofPod := query.ServiceAccountToken != "" || len(query.ServiceAccountAnnotations) > 0
	if n.tokens != nil && !ofPod {
		switch source := source.(type) {
		case *azure.Source:
			return n.cachedAzure(ctx, c, source, query)
		case *execprovider.Source:
			return n.cachedExec(ctx, c, source, query)
		}
		// A docker config.json is read faster than the cache.
	}
	n.settleIn()
	got, err = source.Credential(ctx, query)
	return got, false, err
}

func (n *node) cachedAzure(ctx context.Context, c mirror.Credential, source *azure.Source, query credential.Query) (credential.Credential, bool, error) {
	config, err := n.readOnce(c.File)
	if err != nil {
		return credential.Credential{}, false, err
	}
	key := tokens.NewKey(query.Registry.String(), append(identityOf(c), string(config))...)
	return n.tokens.Get(ctx, []tokens.Key{key}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
		n.settleIn()
		got, err := source.Credential(ctx, query)
		return got, key, err
	})
}

// cachedExec fetches for one image at a time, as the kubelet does, and caches the
// answer for the whole registry if the provider allows that.
func (n *node) cachedExec(ctx context.Context, c mirror.Credential, source *execprovider.Source, query credential.Query) (credential.Credential, bool, error) {
	whole := tokens.NewKey(query.Registry.String(), identityOf(c)...)
	image := tokens.NewKey(query.Registry.String(), append(identityOf(c), query.Image)...)
	return n.tokens.Get(ctx, []tokens.Key{image, whole}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
		n.settleIn()
		got, isWhole, err := source.Scoped(ctx, query)
		if isWhole {
			return got, whole, err
		}
		return got, image, err
	})
}

// tokenCache returns the cache for what an azure.json gets from a service; nil if
// there is no cache.
func (n *node) tokenCache(from, path string) azure.Cache {
	if n.tokens == nil {
		return nil
	}
	return func(ctx context.Context, fetch func(context.Context) (credential.Credential, error)) (credential.Credential, error) {
		config, err := n.readOnce(path)
		if err != nil {
			return credential.Credential{}, err
		}
		key := tokens.NewKey(from, append(identityOf(mirror.Credential{Kind: mirror.Azure, File: path}), string(config))...)
		got, _, err := n.tokens.Get(ctx, []tokens.Key{key}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
			got, err := fetch(ctx)
			return got, key, err
		})
		return got, err
	}
}

// identityOf is what a credential of the node depends on besides the files that
// it names: its settings in the map, without its name and its pod settings, and
// the environment, which names endpoints, proxies and profiles.
func identityOf(c mirror.Credential) []string {
	settings := [][]string{{string(c.Kind), c.File, c.Command}, c.Args, c.Env}
	return []string{fmt.Sprintf("%q", settings), strings.Join(os.Environ(), "\x00")}
}

// readOnce is readOwned for a file that must stay the same during a run: a
// token is cached under the bytes that it was requested with.
func (n *node) readOnce(path string) ([]byte, error) {
	n.once.Lock()
	defer n.once.Unlock()
	if data, ok := n.files[path]; ok {
		return data, nil
	}
	data, err := n.readOwned(path)
	if err != nil {
		return nil, err
	}
	if n.files == nil {
		n.files = map[string][]byte{}
	}
	n.files[path] = data
	return data, nil
}
