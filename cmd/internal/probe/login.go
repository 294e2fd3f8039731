package probe

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A login is a credential for one registry.
type login struct {
	credential.Credential
	name string // in the map; "" for none
}

// A registry is what the map says about the credentials of one registry.
type registry struct {
	logins []login // in the order of the map, without those that need a pod's token
	wanted bool    // the map names a credential
	open   bool    // after all credentials, a pull tries without one
}

// tries returns the logins to ask the registry with, in the order of a pull.
func (r registry) tries() []login {
	list := slices.DeleteFunc(slices.Clone(r.logins), func(l login) bool { return l.Anonymous() })
	if r.open || !r.wanted {
		list = append(list, login{})
	}
	return list
}

// credentials runs the plugin, and returns the credentials for each registry. containerd
// would offer each credential to all of them; here a registry gets only those that the
// map names for it.
func (p *Prober) credentials(ctx context.Context, a aim, seen explain.Observed, e explain.Explanation) map[string]*registry {
	registries, order := p.wanted(a, e)
	var logins []*login // in the order in which the plugin returns them
	for _, name := range order {
		for i := range registries[name].logins {
			logins = append(logins, &registries[name].logins[i])
		}
	}
	if len(logins) == 0 {
		return registries
	}
	list := p.attempts(ctx, a, seen)
	switch {
	case len(list) == len(logins):
		for i, l := range logins {
			l.Credential = list[i]
		}
	case len(list) == 1 || len(list) > 0 && len(order) == 1: // the same for all, or one is missing
		for _, name := range order {
			registries[name].logins = oneOf(registries[name].logins, list)
		}
	}
	return registries
}

// oneOf returns credentials of which it is not known which login each is.
func oneOf(logins []login, list []credential.Credential) []login {
	var names []string
	for _, l := range logins {
		names = append(names, l.name)
	}
	found := make([]login, len(list))
	for i, c := range list {
		found[i] = login{c, strings.Join(names, " or ")}
	}
	return found
}

// wanted returns the registries that the map names credentials for, in the order in
// which the plugin returns those, each without its credentials.
func (p *Prober) wanted(a aim, e explain.Explanation) (registries map[string]*registry, order []string) {
	registries = map[string]*registry{}
	add := func(name, credential string) {
		if credential == "" || credential == mirror.Anonymous {
			return
		}
		r := registries[name]
		if r == nil {
			r = &registry{wanted: true}
			registries[name], order = r, append(order, name)
		}
		if !p.needsPod(a, name, credential) && !slices.ContainsFunc(r.logins, func(l login) bool { return l.name == credential }) {
			r.logins = append(r.logins, login{name: credential})
		}
	}
	for _, o := range e.Plugin.Offers {
		add(o.Registry, o.Credential)
	}
	for _, t := range a.mirror.Targets {
		names := t.CredentialsFor(t.Repository(a.image.Repository()))
		if !p.readsRoutes() { // then it answers by the map's mirrors, and not by a route
			for _, name := range names {
				add(t.Host().String(), name)
			}
		}
		if r := registries[t.Host().String()]; r != nil {
			r.open = slices.Contains(names, mirror.Anonymous)
		}
	}
	return registries, order
}

// readsRoutes reports whether the map's plugin answers by routes.
func (p *Prober) readsRoutes() bool { return plan.PluginOf(p.Mirrors).ReadsRoutes() }

// needsPod reports whether the kubelet gets a credential for pods alone.
func (p *Prober) needsPod(a aim, registry, name string) bool {
	c, ok := p.Mirrors.Credential(name)
	direct := strings.TrimSuffix(a.image.Host(), ":443") == registry
	return ok && c.TakesToken(direct) && c.Token.Required
}

// attempts runs the plugin as the kubelet does, and returns the credentials that a pull
// would try, in that order. It reports why there are none.
func (p *Prober) attempts(ctx context.Context, a aim, seen explain.Observed) []credential.Credential {
	source := a.mirror.Source.String()
	var answers []map[string]credential.Credential
	ran, failed := false, false
	for _, entry := range seen.Providers {
		if _, ok := provider.Match(entry, a.image); !ok || entry.NeedsPod() || entry.Routes() == "" && p.readsRoutes() {
			continue
		}
		ran = true
		response, err := p.Runner.Run(ctx, entry, a.image)
		if err != nil {
			failed = true
			what, repair, _ := strings.Cut(err.Error(), "; ")
			p.add(doctor.ProbeCredential, source, "the plugin returns no credential: "+what, cmp.Or(repair, "mirrorcred events"))
		}
		answers = append(answers, response.Auth)
	}
	list := slices.DeleteFunc(credential.Attempts(answers, a.image.Name()), credential.Credential.Anonymous)
	switch {
	case !ran:
		p.add(doctor.ProbeCredential, source, "the kubelet does not run the plugin for this source", "mirrorcred apply")
	case !failed && len(list) == 0:
		p.add(doctor.ProbeCredential, source, "the plugin answers, but without a credential for this source", "mirrorcred events")
	}
	return list
}

// as names the credential with which the registry is asked.
func (q question) as() string {
	switch {
	case q.holdsCredential() && q.login.Anonymous():
		return "the credential in hosts.toml"
	case q.login.Anonymous():
		return "an anonymous pull"
	}
	return "the credential " + q.login.name
}
