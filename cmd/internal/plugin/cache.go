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

// kept returns what a source gives for an ask, by way of the token cache where
// there is one; hit says that the cache had it.
func (n *node) kept(ctx context.Context, c mirror.Credential, source credential.Source, ask credential.Ask) (got credential.Credential, hit bool, err error) {
	// What a pod's own token gets is that pod's.
	ofPod := ask.ServiceAccountToken != "" || len(ask.ServiceAccountAnnotations) > 0
	if n.tokens != nil && !ofPod {
		switch source := source.(type) {
		case *azure.Source:
			return n.keptAzure(ctx, c, source, ask)
		case *execprovider.Source:
			return n.keptExec(ctx, c, source, ask)
		}
		// A docker config.json is read faster than the cache.
	}
	n.settleIn()
	got, err = source.Credential(ctx, ask)
	return got, false, err
}

func (n *node) keptAzure(ctx context.Context, c mirror.Credential, source *azure.Source, ask credential.Ask) (credential.Credential, bool, error) {
	config, err := n.readOnce(c.File)
	if err != nil {
		return credential.Credential{}, false, err
	}
	key := tokens.NewKey(ask.Registry.String(), append(identityOf(c), string(config))...)
	return n.tokens.Get(ctx, []tokens.Key{key}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
		n.settleIn()
		got, err := source.Credential(ctx, ask)
		return got, key, err
	})
}

// keptExec fetches for one image at a time, as the kubelet does, and keeps the
// answer for the whole registry where the provider says that it may be.
func (n *node) keptExec(ctx context.Context, c mirror.Credential, source *execprovider.Source, ask credential.Ask) (credential.Credential, bool, error) {
	whole := tokens.NewKey(ask.Registry.String(), identityOf(c)...)
	image := tokens.NewKey(ask.Registry.String(), append(identityOf(c), ask.Image)...)
	return n.tokens.Get(ctx, []tokens.Key{image, whole}, func(ctx context.Context) (credential.Credential, tokens.Key, error) {
		n.settleIn()
		got, isWhole, err := source.Scoped(ctx, ask)
		if isWhole {
			return got, whole, err
		}
		return got, image, err
	})
}

// keep returns what keeps something that is got by an azure.json, from whom it
// is named; nil where there is no cache.
func (n *node) keep(from, path string) azure.Keep {
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

// identityOf is what the node's credential is got by, besides the files that it
// names: all that the map says of it but its name and what it says of pods, and
// the environment, which names endpoints, proxies and profiles.
func identityOf(c mirror.Credential) []string {
	says := [][]string{{string(c.Kind), c.File, c.Command}, c.Args, c.Env}
	return []string{fmt.Sprintf("%q", says), strings.Join(os.Environ(), "\x00")}
}

// readOnce is readFile for a file that has to be the same during the whole
// run: a token is kept under the very bytes that it was got by.
func (n *node) readOnce(path string) ([]byte, error) {
	n.once.Lock()
	defer n.once.Unlock()
	if data, ok := n.files[path]; ok {
		return data, nil
	}
	data, err := n.readFile(path)
	if err != nil {
		return nil, err
	}
	if n.files == nil {
		n.files = map[string][]byte{}
	}
	n.files[path] = data
	return data, nil
}
