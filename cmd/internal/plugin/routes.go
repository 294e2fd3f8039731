package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// byRoutes answers by the routes in dir.
func (n node) byRoutes(ctx context.Context, dir string, stderr io.Writer) (credential.Response, error) {
	image, err := mirror.ParseImage(n.request.Image)
	if err != nil {
		return credential.Response{}, fmt.Errorf("image %q: %w", n.request.Image, err)
	}
	offers, err := n.offers(dir, image)
	if err != nil {
		// The manager may have been at work between the two reads.
		offers, err = n.offers(dir, image)
	}
	if err != nil {
		return credential.Response{}, fmt.Errorf("no credential for %s: %w", image.Name(), err)
	}
	credentials, err := n.collect(ctx, offers, stderr)
	if err != nil {
		return credential.Response{}, fmt.Errorf("no credential for %s: %w", image.Name(), err)
	}
	return credential.Answer(image, credentials), nil
}

// offers reads the route of an image and the hosts.toml in force.
func (n node) offers(dir string, image mirror.Image) ([]credential.Offer, error) {
	route, own, err := n.route(dir, image.Host())
	if err != nil {
		return nil, err
	}
	now, err := n.inForce(route.HostsDir, image.Host())
	if err != nil {
		return nil, err
	}
	if own != hosts.Default && now.Namespace == hosts.Default && route.Withdrawn == "" {
		// Its own mirror is not in place yet, and that of "*" serves it.
		if route, err = n.readRoute(dir, hosts.Default); err != nil {
			return nil, err
		}
		own = hosts.Default
	}
	return route.Offers(image, own, now)
}

// route returns the route of a host, or that of "*" where it has none, and the
// namespace that is generated for it.
func (n node) route(dir, host string) (credential.Route, string, error) {
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
func (n node) readRoute(dir, namespace string) (credential.Route, error) {
	data, err := n.readFile(dir, namespace+".json")
	if err != nil {
		return credential.Route{}, err
	}
	route, err := credential.DecodeRoute(data)
	if err != nil {
		return credential.Route{}, fmt.Errorf("route %s: %w", n.path(dir, namespace+".json"), err)
	}
	return route, nil
}

// inForce picks the directory that containerd picks for a host (package hosts)
// and reads the hosts.toml in it.
func (n node) inForce(dir, host string) (credential.InForce, error) {
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
// order of the offers. One that cannot be had is left out and said on stderr,
// unless nothing is left then.
func (n node) collect(ctx context.Context, offers []credential.Offer, stderr io.Writer) ([]credential.Credential, error) {
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
	err := oneLine(errs)
	if err != nil && named > 0 {
		fmt.Fprintf(stderr, "answered without one of the targets: %v\n", err)
		err = nil
	}
	return list, err
}

// oneLine joins errors into one of a single line; nil where there are none.
func oneLine(errs []error) error {
	var texts []string
	for _, err := range errs {
		if err != nil {
			texts = append(texts, strings.Join(strings.Fields(err.Error()), " "))
		}
	}
	if len(texts) == 0 {
		return nil
	}
	return errors.New(strings.Join(texts, "; "))
}

// credential gets one offered credential.
func (n node) credential(ctx context.Context, offer credential.Offer) (credential.Credential, error) {
	source, err := n.source(*offer.Credential)
	if err != nil {
		return credential.Credential{}, err
	}
	ask := offer.Ask
	ask.ServiceAccountToken = n.request.ServiceAccountToken
	ask.ServiceAccountAnnotations = n.request.ServiceAccountAnnotations
	c, err := source.Credential(ctx, ask)
	if err != nil {
		return credential.Credential{}, fmt.Errorf("%s: credential %q: %w", ask.Registry, offer.Credential.Name, err)
	}
	return c, nil
}
