package node

import (
	"bytes"
	"io/fs"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// source plans one mirror: its route, and its hosts.toml where that may change
// now.
func (p *planner) source(m mirror.Mirror, f hosts.File) {
	ns := p.seen.namespaces[f.Namespace]
	next := credential.NewGeneration(p.m, m, hosts.Hash(f.Data))
	after := append([]credential.Generation{next}, p.spent(f.Namespace, next)...)
	if ns.holds(f) {
		p.route(StageRoutes, m.Source, f, after)
		reason := p.stockKeeps(m.Source.String(), only(m))
		if reason == "" && !next.Anonymous() {
			reason = p.kubeletMisses(m)
		}
		p.pending(m, reason)
		return
	}
	now := p.withInForce(after, f.Namespace, ns)
	place := path.Join(p.plan.hostsDir, f.Namespace, hosts.FileName)
	if reason := p.foreign(ns); reason != "" {
		p.route(StageRoutes, m.Source, f, now)
		p.plan.Left = append(p.plan.Left, Left{place, reason})
		p.pending(m, p.stockKeeps(m.Source.String(), m.Source.String()))
		return
	}
	if !bytes.Equal(ns.hosts, f.Data) {
		reason := p.stockMayKeep(m.Source.String(), only(m), ns)
		if reason == "" && !next.Anonymous() {
			reason = p.kubeletWait(m)
		}
		if reason != "" {
			p.route(StageRoutes, m.Source, f, now)
			p.pending(m, reason)
			return
		}
		if before, ok := p.exposed(m, f.Namespace, next); ok {
			if p.holds(f.Namespace) {
				p.route(StageRoutes, m.Source, f, now)
				return
			}
			if p.drain(f.Namespace, before, "it will be served by itself") {
				return
			}
			// What was drained is not to be answered once more.
			now, after = now[:1], now[:1]
		}
	}
	p.route(StageRoutes, m.Source, f, now)
	p.addHosts(place, ns, f)
	if len(now) > len(after) {
		p.route(StageForget, m.Source, f, after)
	}
}

// pending has a mirror wait for a reason, "" for none.
func (p *planner) pending(m mirror.Mirror, reason string) {
	if reason != "" {
		p.plan.Pending = append(p.plan.Pending, Wait{m.Source.String(), reason})
	}
}

// holds reports whether a namespace is as a file says.
func (ns namespace) holds(f hosts.File) bool {
	return ns.odd == "" && bytes.Equal(ns.hosts, f.Data) && (!f.Secret || ns.mode == fileMode(f))
}

func fileMode(f hosts.File) fs.FileMode {
	if f.Secret {
		return 0o600
	}
	return 0o644
}

func (p *planner) addHosts(place string, ns namespace, f hosts.File) {
	_, exists := p.seen.namespaces[f.Namespace]
	p.add(Change{
		Stage: StageHosts, Path: place, Old: ns.hosts, New: f.Data, mode: fileMode(f),
		secret: f.Secret || ns.secret(), dir: !exists, save: ns.whose() != hosts.Ours && len(ns.hosts) > 0,
	})
}

// secret reports whether the hosts.toml in a namespace is closed to others.
func (ns namespace) secret() bool { return ns.hosts != nil && ns.mode&0o077 == 0 }

// foreign returns why a namespace is not written to, "" where it may be.
func (p *planner) foreign(ns namespace) string {
	switch {
	case ns.odd != "":
		return ns.odd + "; remove it, or take the source out of the map"
	case len(ns.hosts) == 0 || ns.whose() == hosts.Ours || p.Adopt:
		return ""
	case ns.whose() == hosts.Edited:
		return "it was edited since mirrorcred wrote it, so it gets no credential; put the change into the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
	}
	return "mirrorcred did not write it; move what it says into the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
}

// seenRoute returns the route of a namespace as it is on the disk.
func (p *planner) seenRoute(name string) (credential.Route, bool) {
	data, ok := p.seen.routes[name]
	if !ok {
		return credential.Route{}, false
	}
	route, err := credential.DecodeRoute(data)
	return route, err == nil && route.HostsDir == p.plan.hostsDir
}

// inForce returns the generation of the hosts.toml that is in a namespace now,
// where a route knows it.
func inForce(route credential.Route, ns namespace) (credential.Generation, bool) {
	if ns.hosts == nil {
		return credential.Generation{}, false
	}
	hash := hosts.Hash(ns.hosts)
	i := slices.IndexFunc(route.Generations, func(g credential.Generation) bool { return g.SHA256 == hash })
	if i < 0 {
		return credential.Generation{}, false
	}
	return route.Generations[i], true
}

// withInForce returns the generations with the one that is in force now.
func (p *planner) withInForce(list []credential.Generation, name string, ns namespace) []credential.Generation {
	route, _ := p.seenRoute(name)
	old, ok := inForce(route, ns)
	if !ok || has(list, old) {
		return list
	}
	return append(slices.Clone(list), old)
}

func has(list []credential.Generation, one credential.Generation) bool {
	return slices.ContainsFunc(list, func(g credential.Generation) bool { return g.SHA256 == one.SHA256 })
}

// spent returns the generations that a route keeps beside an anonymous one: a
// pull may still have their credential when the mirror is removed.
func (p *planner) spent(name string, next credential.Generation) []credential.Generation {
	if !next.Anonymous() {
		return nil
	}
	route, ok := p.seenRoute(name)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(route.Generations, func(g credential.Generation) bool {
		return g.Anonymous() || g.SHA256 == next.SHA256
	})
}

// exposed returns the route by which a credential was answered that the source
// itself would be offered if it was served by itself from now on, and false
// where there is none.
func (p *planner) exposed(m mirror.Mirror, name string, next credential.Generation) (credential.Route, bool) {
	self := slices.IndexFunc(m.Targets, mirror.Target.Self)
	if self < 0 || m.ShareCredential || p.elsewhere {
		return credential.Route{}, false
	}
	route, ok := p.seenRoute(name)
	if _, exists := p.seen.namespaces[name]; !exists && route.Withdrawn == "" {
		// Until now the mirror of "*" served it, if there was one.
		if _, exists := p.seen.namespaces[hosts.Default]; !exists {
			return credential.Route{}, false
		}
		route, ok = p.seenRoute(hosts.Default)
	}
	registry := next.Targets[self].Registry
	return route, ok && slices.ContainsFunc(route.Generations, func(g credential.Generation) bool {
		return !g.Anonymous() && !slices.ContainsFunc(g.Targets, func(t credential.RouteTarget) bool { return t.Registry == registry })
	})
}

// route plans the route file of a source.
func (p *planner) route(stage Stage, s mirror.Source, f hosts.File, generations []credential.Generation) {
	r := credential.Route{Source: s.String(), HostsDir: p.plan.hostsDir, Generations: generations}
	if s.Any() {
		r.Direct = p.direct()
	}
	p.writeRoute(stage, f.Namespace, f.Secret, r)
}

func (p *planner) direct() *mirror.Credential {
	if c, ok := p.m.Azure(); ok {
		return &c
	}
	if len(p.held) > 0 {
		route, _ := p.seenRoute(hosts.Default)
		return route.Direct
	}
	return nil
}

func (p *planner) writeRoute(stage Stage, name string, secret bool, r credential.Route) {
	if !p.routed {
		return
	}
	data, err := r.Encode()
	if err != nil {
		p.err = err
		return
	}
	old := p.seen.routes[name]
	if stage != StageForget && bytes.Equal(old, data) {
		return
	}
	mode := fs.FileMode(0o644)
	if secret {
		// The hash of a file with a secret in it would let others guess.
		mode = 0o600
	}
	p.add(Change{Stage: stage, Path: path.Join(routesDir, name+".json"), Old: old, New: data, mode: mode})
}
