package route

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Observed is what containerd reads for an image's host at this moment.
type Observed struct {
	// Dir is the directory of all namespaces, as [Route.HostsDir] names it.
	Dir string
	// Namespace is the directory in it that containerd picks (package hosts),
	// "" if there is none.
	Namespace string
	// Hosts is the hosts.toml in that directory; nil if there is none.
	Hosts []byte
}

// An Offer is one credential to get for an image: for a registry that
// containerd may ask. Credential is nil for an attempt without one.
type Offer struct {
	Query      credential.Query
	Credential *mirror.Credential
	// Empty says that the kubelet must try the pull without a credential, after the
	// pod's pull secrets: only then containerd offers a registry's token realm what
	// is in hosts.toml.
	Empty bool
}

// Decide returns what the plugin may return for an image, in the order of the
// registries that containerd asks, and of the credentials of each; nothing if no
// mirror of the map is involved.
// The error says why nothing may be returned although one is.
//
// own is the route of the image's host and wildcard that of "*"; each is nil if
// there is none. now must have been observed in the HostsDir of own, or of
// wildcard if own is nil.
//
// This is the whole of the promise not to leak: there are two ways to an offer
// with a credential, the methods offers of a generation and direct of a route. The
// first is taken only if the bytes that containerd reads have the hash of those that
// were rendered for the offered registries, and are in the place that they were
// rendered for; it takes the credentials that Credentials.offered returns, those of
// the one registry and in its order. The second is taken only for an ACR host that
// containerd asks directly. An offer without a credential gives nothing away, so what
// makes those, and what only phrases why nothing may be returned, is in other files.
func Decide(image mirror.Image, own, wildcard *Route, now Observed) ([]Offer, error) {
	r, namespace := own, hosts.Candidates(image.Host())[0]
	switch {
	case own == nil:
		r, namespace = wildcard, hosts.Default
	case own.Withdrawn == "" && now.Namespace == hosts.Default && (wildcard.rendered(now) || wildcard.drains(now)):
		// The source's own hosts.toml is not in place yet; until then the mirror of
		// "*" serves it, or drains.
		r, namespace = wildcard, hosts.Default
	}
	if r == nil {
		return nil, errors.New("there is no route; run \"mirrorcred apply\"")
	}
	if err := r.check(image, namespace, now); err != nil {
		return nil, err
	}
	return r.decide(image, namespace, now)
}

// check returns an error if a route is for another namespace or another
// directory than the observed one, if it was withdrawn, or if a generated
// hosts.toml is not the route's.
func (r *Route) check(image mirror.Image, namespace string, now Observed) error {
	if !r.isOf(namespace) {
		return fmt.Errorf("the route is that of the source %q; run \"mirrorcred apply\"", r.Source)
	}
	if r.HostsDir != now.Dir {
		return fmt.Errorf("the route is for %s, but containerd reads %s; run \"mirrorcred apply\"", r.HostsDir, now.Dir)
	}
	if r.Withdrawn != "" {
		return because(ErrWithdrawn, "%q: %s", image.Host(), r.Withdrawn)
	}
	if now.Namespace != namespace && hosts.OwnerOf(now.Hosts) == hosts.Ours {
		return fmt.Errorf("%s/%s/hosts.toml is mirrorcred's, but its route is missing; run \"mirrorcred apply\"", now.Dir, now.Namespace)
	}
	return nil
}

// isOf reports whether a route was written for the source of a namespace.
func (r *Route) isOf(namespace string) bool {
	source, err := mirror.ParseSource(r.Source)
	return err == nil && hosts.Namespace(source) == namespace
}

// decide is [Decide] for one route and the namespace that is generated for it.
func (r *Route) decide(image mirror.Image, own string, now Observed) ([]Offer, error) {
	if len(r.Generations) == 0 || r.Source == "*" && now.Namespace != "" && now.Namespace != own {
		return r.direct(image, now)
	}
	if g, ok := r.generation(now); ok && now.Namespace == own {
		if g.Anonymous() {
			return r.withoutCredential(), nil
		}
		return g.offers(image)
	}
	if !slices.ContainsFunc(r.Generations, func(g Generation) bool { return !g.Anonymous() }) {
		return r.withoutCredential(), nil
	}
	return nil, r.unread(own, now)
}

// generation returns the generation with the bytes that containerd reads.
func (r *Route) generation(now Observed) (Generation, bool) {
	if len(now.Hosts) == 0 {
		return Generation{}, false
	}
	hash := hosts.Hash(now.Hosts)
	for _, g := range r.Generations {
		if g.SHA256 == hash {
			return g, true
		}
	}
	return Generation{}, false
}

// rendered reports whether containerd reads the bytes of a generation of a
// wildcard route, which may be nil.
func (r *Route) rendered(now Observed) bool {
	if r == nil || r.HostsDir != now.Dir || !r.isOf(hosts.Default) {
		return false
	}
	_, ok := r.generation(now)
	return ok
}

// drains reports whether a wildcard route, which may be nil, is withdrawn while
// containerd reads a generated hosts.toml of "*". The route may not have that file's
// generation, if it was lost before.
func (r *Route) drains(now Observed) bool {
	return r != nil && r.Withdrawn != "" && r.HostsDir == now.Dir && r.isOf(hosts.Default) && hosts.OwnerOf(now.Hosts) == hosts.Ours
}

// direct handles a host that is not in the map, if containerd asks that host
// directly.
func (r *Route) direct(image mirror.Image, now Observed) ([]Offer, error) {
	host, ok := credential.LoginServer(image)
	if !ok || r.Direct == nil {
		return nil, nil
	}
	if now.Namespace != "" {
		return nil, because(ErrNotInMap, "%s/%s/hosts.toml sends %q elsewhere and is not in the mirror map; name it there as [registry.%q] or as a source, or remove the directory", now.Dir, now.Namespace, image.Host(), image.Host())
	}
	return []Offer{{Query: credential.Query{Registry: host, Image: image.Name()}, Credential: r.Direct}}, nil
}

// offers returns what may be returned while containerd reads g, the anonymous
// attempt once. A registry whose credential is in hosts.toml needs no attempt.
func (g Generation) offers(image mirror.Image) ([]Offer, error) {
	var offers []Offer
	anonymous := false // whether there is an attempt without a credential
	for _, t := range g.Targets {
		repository := strings.TrimPrefix(t.Prefix+"/"+image.Repository(), "/")
		if t.Delivered && !t.Realm {
			continue
		}
		var query credential.Query
		if t.Registry != "" { // else it is the source itself, in the mirror of "*"
			registry, err := mirror.ParseHost(t.Registry)
			if err != nil {
				return nil, fmt.Errorf("target %q of the route: %w", t.Registry, err)
			}
			query = credential.Query{Registry: registry, Plain: t.Plain, Image: t.Registry + "/" + repository}
		}
		for _, c := range t.credentialsFor(repository).offered() {
			if c == nil && anonymous {
				continue
			}
			anonymous = anonymous || c == nil
			offers = append(offers, Offer{Query: query, Credential: c})
		}
	}
	return offers, nil
}

// credentialsFor returns the credentials for a repository at a target.
func (t Target) credentialsFor(repository string) Credentials {
	for _, below := range t.Below {
		if repository == below.Prefix || strings.HasPrefix(repository, below.Prefix+"/") {
			return below.Credentials
		}
	}
	return t.Credentials
}
