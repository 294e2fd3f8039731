package probe

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential"
)

// A login is the credential for one registry.
type login struct {
	credential.Credential
	wanted bool   // the map names one for it
	name   string // in the map
}

// credentials runs the plugin, and returns the credential for each registry. containerd
// would offer each credential to all of them; here a registry gets only the one that the
// map names for it.
func (p *Prober) credentials(ctx context.Context, a aim, seen explain.Observed, e explain.Explanation) map[string]login {
	logins, order := p.wanted(a, e)
	if len(order) == 0 {
		return logins
	}
	list := p.attempts(ctx, a, seen)
	for i, registry := range order {
		l := logins[registry]
		switch {
		case len(list) == len(order):
			l.Credential = list[i]
		case len(list) == 1:
			l.Credential = list[0] // the same for all
		}
		logins[registry] = l
	}
	return logins
}

// wanted returns the registries that the map names a credential for, in the order in
// which the plugin returns those, each without its credential.
func (p *Prober) wanted(a aim, e explain.Explanation) (logins map[string]login, order []string) {
	logins = map[string]login{}
	add := func(registry, name string) {
		if _, twice := logins[registry]; name != "" && !twice {
			logins[registry] = login{wanted: true, name: name}
			order = append(order, registry)
		}
	}
	for _, o := range e.Plugin.Offers {
		add(o.Registry, o.Credential)
	}
	if p.Mirrors.Kubelet.Stock { // it answers without routes, by the map's arguments
		for _, t := range a.mirror.Targets {
			add(t.Host().String(), t.Credential)
		}
	}
	return logins, order
}

// attempts runs the plugin as the kubelet does, and returns the credentials that a pull
// would try, in that order. It reports why there are none.
func (p *Prober) attempts(ctx context.Context, a aim, seen explain.Observed) []credential.Credential {
	source := a.mirror.Source.String()
	var answers []map[string]credential.Credential
	ran, failed := false, false
	for _, entry := range seen.Providers {
		if _, ok := provider.Match(entry, a.image); !ok || entry.Routes() == "" && !p.Mirrors.Kubelet.Stock {
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
