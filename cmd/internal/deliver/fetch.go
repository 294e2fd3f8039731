package deliver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/sources"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
	"github.com/mirrorcred/mirrorcred/credential/execprovider"
)

// A Fetcher gets credentials from the sources of a node.
type Fetcher struct {
	Sources sources.Options

	mu     sync.Mutex
	groups map[string]*group
}

// A group is a registry and an identity. One fetch at a time is made for it.
type group struct {
	mu   sync.Mutex
	last Fetched // if it is for the whole registry
	at   time.Time
	// served are the keys that had it. One that asks again was refused, or its source has
	// changed.
	served map[string]bool
}

// sameFetch is how long an answer for a whole registry serves the further values of its
// group, each once: they are due together.
const sameFetch = time.Minute

// Fetch gets a credential. It implements [Deliverer.Fetch].
func (f *Fetcher) Fetch(ctx context.Context, w Want) (Fetched, error) {
	source, err := sources.Open(w.Credential, f.Sources)
	if err != nil {
		return Fetched{}, err
	}
	query := credential.Query{Registry: w.Target.Host(), Image: w.Target.Host().String() + "/" + w.Target.Repository("mirrorcred")}
	switch source := source.(type) {
	case *execprovider.Source:
		return f.fromProvider(ctx, w, source, query)
	case *azure.Source:
		return f.fromAzure(ctx, w, source, query)
	case *dockerconfig.Source:
		c, err := source.Credential(ctx, query)
		if err != nil {
			return Fetched{}, err
		}
		issued, until := source.Lifetime(query)
		got, err := basic(c, until)
		got.Issued = issued
		return got, err
	}
	return Fetched{}, fmt.Errorf("it is of kind %q, which cannot be in hosts.toml; remove deliver", w.Credential.Kind)
}

// fromProvider runs another vendor's provider. Its cacheDuration says when the kubelet
// would ask again, and not when the credential expires.
func (f *Fetcher) fromProvider(ctx context.Context, w Want, source *execprovider.Source, query credential.Query) (Fetched, error) {
	g := f.group(w.Group)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.at.IsZero() && time.Since(g.at) < sameFetch && !g.served[w.Key] {
		g.served[w.Key] = true
		return g.last, nil
	}
	now := time.Now()
	c, whole, err := source.Scoped(ctx, query)
	if err != nil {
		return Fetched{}, err
	}
	asked := c.Expires
	got, err := basic(c, time.Time{})
	if err != nil {
		return Fetched{}, err
	}
	if cached := asked.Sub(now); !asked.IsZero() && cached > 0 {
		got.Renew = now.Add(cached / 2)
	}
	if whole {
		g.last, g.at, g.served = got, now, map[string]bool{w.Key: true}
	}
	return got, nil
}

func (f *Fetcher) group(name string) *group {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups == nil {
		f.groups = map[string]*group{}
	}
	if f.groups[name] == nil {
		f.groups[name] = &group{}
	}
	return f.groups[name]
}

// fromAzure gets a credential of Azure. A registry of the cloud takes the secret of a
// service principal as it is, and that needs no token.
func (f *Fetcher) fromAzure(ctx context.Context, w Want, source *azure.Source, query credential.Query) (Fetched, error) {
	config, err := f.Sources.AzureConfig(w.Credential.File)
	if err != nil {
		return Fetched{}, err
	}
	if id, secret, ok := config.ServicePrincipal(); ok && config.RegistrySuffix() != "" && query.Registry.ACRSuffixIn(config.RegistrySuffix()) {
		return basic(credential.Credential{Username: id, Password: secret}, time.Time{})
	}
	c, err := source.Credential(ctx, query)
	if err != nil {
		return Fetched{}, err
	}
	return basic(c, c.Expires)
}

// basic returns the header of a username and a password.
func basic(c credential.Credential, until time.Time) (Fetched, error) {
	switch {
	case c.Anonymous():
		return Fetched{}, errors.New("its source has neither username nor password for this registry; remove deliver, or correct the source")
	case strings.Contains(c.Username, ":"):
		return Fetched{}, errors.New("its username has a colon, which a header cannot carry; use another account")
	}
	text := c.Username + ":" + c.Password.Reveal()
	return Fetched{Authorization: credential.Secret("Basic " + base64.StdEncoding.EncodeToString([]byte(text))), Until: until}, nil
}
