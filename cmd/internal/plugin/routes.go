package plugin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/azure"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// byRoutes answers by the routes in the directory that the flags name.
func (n *node) byRoutes(ctx context.Context, o options) (credential.Response, error) {
	image, err := mirror.ParseImage(n.request.Image)
	if err != nil {
		return credential.Response{}, withCode(audit.BadRequest, fmt.Errorf("image %q: %w", n.request.Image, err))
	}
	credentials, err := n.byRoute(ctx, o.routes, image)
	if err != nil {
		return credential.Response{}, fmt.Errorf("no credential for %s: %w", image.Name(), err)
	}
	return credentials.answer(image), nil
}

// byRoute gets the credentials for an image. That takes seconds, in which
// containerd may have been sent elsewhere, so the files are read again before
// one is returned.
func (n *node) byRoute(ctx context.Context, dir string, image mirror.Image) (collected, error) {
	offers, err := n.settled(dir, image)
	for range mostTurns {
		switch {
		case err != nil || len(offers) == 0:
			return collected{}, err
		case offers[0].Empty: // the only offer; the other providers return nothing
			return collected{empty: n.provider.credential == ""}, nil
		}
		credentials, err := n.collect(ctx, offers)
		if err != nil {
			return collected{}, err
		}
		before := offers
		if offers, err = n.settled(dir, image); err != nil {
			return collected{}, err
		}
		if reflect.DeepEqual(offers, before) {
			return credentials, nil
		}
	}
	return collected{}, withCode(audit.Retargeted, errors.New("its mirror changed each time a credential was ready; pull again"))
}

// mostTurns is how often credentials are fetched for one image.
const mostTurns = 3

// settled returns the offers for an image. After a fault it tries once more:
// the manager may have written between the two reads.
func (n *node) settled(dir string, image mirror.Image) ([]route.Offer, error) {
	return await(n, "the files of the route; look for a dead mount", func() ([]route.Offer, error) {
		offers, err := n.offers(dir, image)
		if err != nil {
			offers, err = n.offers(dir, image)
		}
		return offers, routeError(err)
	})
}

// offers reads the routes of an image and its present hosts.toml.
func (n *node) offers(dir string, image mirror.Image) ([]route.Offer, error) {
	if err := armed.Stopped(n.root); err != nil {
		return nil, withCode(audit.NotArmed, err)
	}
	own, err := n.readRoute(dir, hosts.Candidates(image.Host())[0])
	if err != nil {
		return nil, err
	}
	var wildcard *route.Route
	if own == nil {
		if wildcard, err = n.readRoute(dir, hosts.Default); err != nil {
			return nil, err
		}
	}
	in := cmp.Or(own, wildcard)
	if in == nil {
		return nil, fmt.Errorf("there are no routes in %s; run \"mirrorcred apply\"", n.path(dir))
	}
	now, err := n.observe(in.HostsDir, image.Host())
	if err != nil {
		return nil, err
	}
	if own != nil && now.Namespace == hosts.Default {
		wildcard, _ = n.readRoute(dir, hosts.Default) // without it there is no wildcard mirror
	}
	offers, err := route.Decide(image, own, wildcard, now)
	if err == nil && slices.ContainsFunc(offers, func(o route.Offer) bool { return o.Credential != nil }) {
		err = withCode(audit.NotArmed, armed.Check(n.root, dir, now.Dir))
	}
	return offers, err
}

// readRoute reads the route of a namespace; nil if it has none.
func (n *node) readRoute(dir, namespace string) (*route.Route, error) {
	data, err := n.readFile(dir, namespace+".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := route.Decode(data)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", n.path(dir, namespace+".json"), err)
	}
	return &r, nil
}

// observe picks the directory that containerd picks for a host (package hosts)
// and reads the hosts.toml in it.
func (n *node) observe(dir, host string) (route.Observed, error) {
	for _, name := range hosts.Candidates(host) {
		_, err := n.tree.Stat(n.path(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return route.Observed{}, err
		}
		data, err := n.readFile(dir, name, hosts.FileName)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return route.Observed{}, err
		}
		return route.Observed{Dir: dir, Namespace: name, Hosts: data}, nil
	}
	return route.Observed{Dir: dir}, nil
}

// collected are the credentials for an image in the order of the offers, nil for one
// that another of mirrorcred's providers answers. first ends with those of the first
// offer that may have any number of them, and is nil if each offer has one at most.
type collected struct {
	first, rest []*credential.Credential
	// empty says that there are none, and that the kubelet must try without one; see
	// [route.Offer].
	empty bool
}

// answer returns them as the kubelet tries them.
func (c collected) answer(image mirror.Image) credential.Response {
	switch {
	case c.empty:
		return credential.Empty(image)
	case c.first == nil:
		return credential.Answer(image, c.rest)
	}
	return credential.AnswerAround(image, c.first, c.rest)
}

// arrange puts what was got for each offer in order.
func (n *node) arrange(offers []route.Offer, got [][]credential.Credential) collected {
	shared := slices.ContainsFunc(offers, func(o route.Offer) bool { return !n.answers(o) })
	several := slices.IndexFunc(offers, func(o route.Offer) bool { return o.Credential != nil && o.Credential.Kind == mirror.PullSecret })
	var c collected
	if several >= 0 {
		c.first = []*credential.Credential{}
	}
	for i := range offers {
		to := &c.first
		if i > several {
			to = &c.rest
		}
		for j := range got[i] {
			*to = append(*to, &got[i][j])
		}
		if len(got[i]) == 0 && shared {
			*to = append(*to, nil)
		}
	}
	return c
}

// collect gets the offered credentials concurrently. One that cannot be fetched is left
// out and noted, unless nothing would be left.
func (n *node) collect(ctx context.Context, offers []route.Offer) (collected, error) {
	got := make([][]credential.Credential, len(offers))
	errs := make([]error, len(offers))
	var wait sync.WaitGroup
	for i, offer := range offers {
		if n.answers(offer) {
			wait.Go(func() { got[i], errs[i] = n.credentials(ctx, offer) })
		}
	}
	wait.Wait()
	if err := oneLine(errs...); err != nil {
		isOne := func(c credential.Credential) bool { return !c.Anonymous() }
		if !slices.ContainsFunc(got, func(list []credential.Credential) bool { return slices.ContainsFunc(list, isOne) }) {
			return collected{}, withCode(firstCode(errs), err)
		}
		n.journal.partial = true
		n.notes = append(n.notes, fmt.Errorf("answered without one of the credentials: %w", err))
	}
	return n.arrange(offers, got), nil
}

// answers reports whether an offer is for the provider of this run: each
// credential that needs a pod's token has its own.
func (n *node) answers(offer route.Offer) bool {
	if offer.Credential == nil || !offer.Credential.TakesToken(n.isDirect(offer.Query.Registry)) {
		return n.provider.credential == ""
	}
	return n.provider.credential == offer.Credential.Name
}

// credentials gets one offered credential, the zero one if the target is anonymous. A
// source may have several, or none.
func (n *node) credentials(ctx context.Context, offer route.Offer) ([]credential.Credential, error) {
	if offer.Credential == nil {
		return make([]credential.Credential, 1), nil
	}
	source, err := n.source(*offer.Credential)
	if err != nil {
		return nil, withCode(audit.Misconfigured, err)
	}
	query, err := n.withToken(offer)
	if err != nil {
		return nil, withCode(audit.PodToken, err)
	}
	list, err := n.ask(ctx, *offer.Credential, source, query)
	if err != nil {
		return nil, fmt.Errorf("%s: credential %q: %w", query.Registry, offer.Credential.Name, err)
	}
	return list, nil
}

// withToken returns the query for a source, with the pod's token if the source
// uses it.
func (n *node) withToken(offer route.Offer) (credential.Query, error) {
	c, query := offer.Credential, offer.Query
	direct := n.isDirect(query.Registry)
	switch {
	case !c.TakesToken(direct):
		// A provider that is configured by hand may get tokens too.
		if c.Kind == mirror.Azure && !(direct && n.isPod(n.azure.ClientID)) {
			return query, nil
		}
	case c.Token.Audience != n.provider.audience:
		return query, fmt.Errorf("credential %q needs a token for %q, but the kubelet passes one for %q; restart the kubelet", c.Name, c.Token.Audience, n.provider.audience)
	case c.Token.Required && n.request.ServiceAccountToken == "":
		return query, fmt.Errorf("credential %q needs the pod's token, but the request has none; give the pod a service account", c.Name)
	case c.Kind == mirror.Azure && !c.Token.Required && !n.isPod(c.ClientID):
		return query, nil // it is the node that pulls
	}
	return n.withPod(query), nil
}

// isDirect reports whether the image itself names a registry, and not a mirror
// of it.
func (n *node) isDirect(registry mirror.Host) bool {
	image, err := mirror.ParseImage(n.request.Image)
	return err == nil && strings.TrimSuffix(image.Host(), ":443") == registry.String()
}

// isPod reports whether a pod pulls from Azure with its own identity: its
// service account has one, or there is a default client id. The kubelet may
// pass a token that is for other registries.
func (n *node) isPod(clientID string) bool {
	return clientID != "" || azure.Annotated(n.request.ServiceAccountAnnotations)
}

// withPod adds what the kubelet passed about the pod.
func (n *node) withPod(query credential.Query) credential.Query {
	query.Asked = n.request.Image
	query.ServiceAccountToken = n.request.ServiceAccountToken
	query.ServiceAccountAnnotations = n.request.ServiceAccountAnnotations
	return query
}
