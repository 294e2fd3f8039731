package plugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"reflect"
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
func (n *node) byRoute(ctx context.Context, dir string, image mirror.Image) ([]credential.Credential, error) {
	offers, err := n.settled(ctx, dir, image)
	for range mostTurns {
		if err != nil || len(offers) == 0 {
			return nil, err
		}
		credentials, err := n.collect(ctx, offers)
		if err != nil {
			return nil, err
		}
		before := offers
		if offers, err = n.settled(ctx, dir, image); err != nil {
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
func (n *node) settled(ctx context.Context, dir string, image mirror.Image) ([]credential.Offer, error) {
	return within(ctx, "the files of the route; look for a dead mount", func() ([]credential.Offer, error) {
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
// order of the offers. One that cannot be had is left out and noted, unless
// nothing is left then.
func (n *node) collect(ctx context.Context, offers []credential.Offer) ([]credential.Credential, error) {
	got := make([]credential.Credential, len(offers))
	errs := make([]error, len(offers))
	var wait sync.WaitGroup
	for i, offer := range offers {
		if offer.Credential == nil {
			continue
		}
		wait.Go(func() { got[i], errs[i] = n.credential(ctx, offer) })
	}
	wait.Wait()
	var list []credential.Credential
	named := 0
	for i, c := range got {
		if errs[i] != nil {
			continue
		}
		list = append(list, c)
		if !c.Anonymous() {
			named++
		}
	}
	err := oneLine(errs...)
	if err != nil && named > 0 {
		n.notes = append(n.notes, fmt.Errorf("answered without one of the targets: %w", err))
		err = nil
	}
	return list, err
}

// credential gets one offered credential.
func (n *node) credential(ctx context.Context, offer credential.Offer) (credential.Credential, error) {
	source, err := n.source(*offer.Credential)
	if err != nil {
		return credential.Credential{}, err
	}
	ask := offer.Ask
	if offer.Credential.Kind != mirror.Azure || n.byPod(ask.Registry) {
		ask = n.withPod(ask)
	}
	c, err := n.ask(ctx, *offer.Credential, source, ask)
	if err != nil {
		return credential.Credential{}, fmt.Errorf("%s: credential %q: %w", ask.Registry, offer.Credential.Name, err)
	}
	return c, nil
}

// byPod reports whether a registry is pulled from by the pod's own identity:
// one that the image itself names, by a pod that has an identity. A mirror is
// the node's affair, and the kubelet may hand a token on for other registries.
func (n *node) byPod(registry mirror.Host) bool {
	image, err := mirror.ParseImage(n.request.Image)
	hasIdentity := n.azure.ClientID != "" || azure.Annotated(n.request.ServiceAccountAnnotations)
	return err == nil && image.Host() == registry.String() && hasIdentity
}

// withPod adds what the kubelet handed on of the pod.
func (n *node) withPod(ask credential.Ask) credential.Ask {
	ask.ServiceAccountToken = n.request.ServiceAccountToken
	ask.ServiceAccountAnnotations = n.request.ServiceAccountAnnotations
	return ask
}
