package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"sync"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// byRoutes answers by the routes in the directory that the flags name.
func (n *node) byRoutes(ctx context.Context, o options) (credential.Response, error) {
	image, err := mirror.ParseImage(n.request.Image)
	if err != nil {
		return credential.Response{}, fmt.Errorf("image %q: %w", n.request.Image, err)
	}
	credentials, err := n.byRoute(ctx, o.routes, image)
	if err != nil {
		return credential.Response{}, fmt.Errorf("no credential for %s: %w", image.Name(), err)
	}
	return credential.Answer(image, credentials), nil
}

// byRoute gets the credentials for an image. Getting them takes seconds, in
// which containerd may have been sent elsewhere, so that the files are read
// again before one is handed out.
func (n *node) byRoute(ctx context.Context, dir string, image mirror.Image) ([]*credential.Credential, error) {
	offers, err := n.settled(dir, image)
	for range mostTurns {
		if err != nil || len(offers) == 0 {
			return nil, err
		}
		credentials, err := n.collect(ctx, offers)
		if err != nil {
			return nil, err
		}
		before := offers
		if offers, err = n.settled(dir, image); err != nil {
			return nil, err
		}
		if reflect.DeepEqual(offers, before) {
			return credentials, nil
		}
	}
	return nil, errors.New("its mirror changed each time a credential was at hand; pull again")
}

// mostTurns is how often credentials are got for one image.
const mostTurns = 3

// settled returns the offers for an image. Where there is a fault it looks
// once more: the manager may have been at work between the two reads.
func (n *node) settled(dir string, image mirror.Image) ([]credential.Offer, error) {
	return await(n, "the files of the route; look for a dead mount", func() ([]credential.Offer, error) {
		offers, err := n.offers(dir, image)
		if err != nil {
			offers, err = n.offers(dir, image)
		}
		return offers, err
	})
}

// offers reads the route of an image and the hosts.toml in force.
func (n *node) offers(dir string, image mirror.Image) ([]credential.Offer, error) {
	route, own, err := n.route(dir, image.Host())
	if err != nil {
		return nil, err
	}
	now, err := n.inForce(route.HostsDir, image.Host())
	if err != nil {
		return nil, err
	}
	if own != hosts.Default && now.Namespace == hosts.Default && route.Withdrawn == "" {
		// Where it is the mirror of "*" that serves the source, its own is
		// not in place yet.
		if any, err := n.readRoute(dir, hosts.Default); err == nil && any.Rendered(now) {
			route, own = any, hosts.Default
		}
	}
	if now.Namespace != own && hosts.Whose(now.Hosts) == hosts.Ours {
		return nil, fmt.Errorf("%s is mirrorcred's, and its route is missing; run \"mirrorcred apply\"", n.path(route.HostsDir, now.Namespace, hosts.FileName))
	}
	return route.Offers(image, own, now)
}

// route returns the route of a host, or that of "*" where it has none, and the
// namespace that is generated for it.
func (n *node) route(dir, host string) (credential.Route, string, error) {
	own := hosts.Candidates(host)[0]
	route, err := n.readRoute(dir, own)
	if errors.Is(err, fs.ErrNotExist) {
		own = hosts.Default
		route, err = n.readRoute(dir, own)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return credential.Route{}, "", fmt.Errorf("there are no routes in %s; run \"mirrorcred apply\"", n.path(dir))
	}
	return route, own, err
}

// readRoute reads the route of a namespace.
func (n *node) readRoute(dir, namespace string) (credential.Route, error) {
	data, err := n.readFile(dir, namespace+".json")
	if err != nil {
		return credential.Route{}, err
	}
	route, err := credential.DecodeRoute(data)
	if err != nil {
		return credential.Route{}, fmt.Errorf("route %s: %w", n.path(dir, namespace+".json"), err)
	}
	if source, err := mirror.ParseSource(route.Source); err != nil || hosts.Namespace(source) != namespace {
		return credential.Route{}, fmt.Errorf("route %s is that of the source %q; run \"mirrorcred apply\"", n.path(dir, namespace+".json"), route.Source)
	}
	return route, nil
}

// inForce picks the directory that containerd picks for a host (package hosts)
// and reads the hosts.toml in it.
func (n *node) inForce(dir, host string) (credential.InForce, error) {
	for _, name := range hosts.Candidates(host) {
		_, err := os.Stat(n.path(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return credential.InForce{}, err
		}
		data, err := n.readFile(dir, name, hosts.FileName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return credential.InForce{}, err
		}
		return credential.InForce{Namespace: name, Hosts: data}, nil
	}
	return credential.InForce{}, nil
}

// collect gets the offered credentials, all at once, and returns them in the
// order of the offers, nil for one that another of our providers answers. One
// that cannot be had is left out and noted, unless nothing is left then.
func (n *node) collect(ctx context.Context, offers []credential.Offer) ([]*credential.Credential, error) {
	got := make([]*credential.Credential, len(offers))
	errs := make([]error, len(offers))
	var wait sync.WaitGroup
	for i, offer := range offers {
		if n.answers(offer) {
			wait.Go(func() { got[i], errs[i] = n.credential(ctx, offer) })
		}
	}
	wait.Wait()
	if err := oneLine(errs...); err != nil {
		if !slices.ContainsFunc(got, func(c *credential.Credential) bool { return c != nil && !c.Anonymous() }) {
			return nil, err
		}
		n.notes = append(n.notes, fmt.Errorf("answered without one of the targets: %w", err))
	}
	if slices.ContainsFunc(offers, func(o credential.Offer) bool { return !n.answers(o) }) {
		return got, nil
	}
	return slices.DeleteFunc(got, func(c *credential.Credential) bool { return c == nil }), nil
}

// answers reports whether an offer is for the provider that this run is: each
// credential that is got with a pod's token has one of its own.
func (n *node) answers(offer credential.Offer) bool {
	if offer.Credential == nil || !offer.Credential.TakesToken(n.isDirect(offer.Ask.Registry)) {
		return n.provider.credential == ""
	}
	return n.provider.credential == offer.Credential.Name
}

// credential gets one offered credential, the zero one where the target is
// anonymous.
func (n *node) credential(ctx context.Context, offer credential.Offer) (*credential.Credential, error) {
	if offer.Credential == nil {
		return new(credential.Credential), nil
	}
	source, err := n.source(*offer.Credential)
	if err != nil {
		return nil, err
	}
	ask, err := n.withToken(offer)
	if err != nil {
		return nil, err
	}
	c, err := n.ask(ctx, *offer.Credential, source, ask)
	if err != nil {
		return nil, fmt.Errorf("%s: credential %q: %w", ask.Registry, offer.Credential.Name, err)
	}
	return &c, nil
}

// withToken returns what a source is asked: with the pod's token where it is
// one that takes it.
func (n *node) withToken(offer credential.Offer) (credential.Ask, error) {
	c, ask := offer.Credential, offer.Ask
	direct := n.isDirect(ask.Registry)
	switch {
	case !c.TakesToken(direct):
		// A provider that is set up by hand may be handed tokens too.
		if c.Kind == mirror.Azure && !(direct && n.isPod(n.azure.ClientID)) {
			return ask, nil
		}
	case c.Token.Audience != n.provider.audience:
		return ask, fmt.Errorf("credential %q is got with a token for %q, and the kubelet hands on one for %q; restart the kubelet", c.Name, c.Token.Audience, n.provider.audience)
	case c.Token.Required && n.request.ServiceAccountToken == "":
		return ask, fmt.Errorf("credential %q is got with the pod's token, and the request has none; give the pod a service account", c.Name)
	case c.Kind == mirror.Azure && !c.Token.Required && !n.isPod(c.ClientID):
		return ask, nil // it is the node that pulls
	}
	return n.withPod(ask), nil
}

// isDirect reports whether the image itself names a registry, and not a mirror
// of it.
func (n *node) isDirect(registry mirror.Host) bool {
	image, err := mirror.ParseImage(n.request.Image)
	return err == nil && image.Host() == registry.String()
}

// isPod reports whether a pod pulls as itself from Azure: its service account
// says who it is, or there is a client id for those that do not. The kubelet
// may hand a token on for other registries.
func (n *node) isPod(clientID string) bool {
	return clientID != "" || azure.Annotated(n.request.ServiceAccountAnnotations)
}

// withPod adds what the kubelet handed on of the pod.
func (n *node) withPod(ask credential.Ask) credential.Ask {
	ask.ServiceAccountToken = n.request.ServiceAccountToken
	ask.ServiceAccountAnnotations = n.request.ServiceAccountAnnotations
	return ask
}
