package plan

import (
	"fmt"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// An exposure is a possible leak when a mirror's targets change: a pull that got its
// credential before the change and begins after it would offer that credential to a
// registry that must not see it.
type exposure struct {
	to   string // the registry, or [itself]
	self bool   // to is the source itself
	of   string // whose credential it is, "" if that is not known
	// delivered says that it is the credential of the registry itself, which is in
	// hosts.toml from now on.
	delivered bool
	// before is the route by which the credential was answered.
	before route.Route
}

// why returns the reason for the wait, as the route has it.
func (e exposure) why() string {
	if e.delivered {
		return fmt.Sprintf("the credential of %q moves into hosts.toml", e.to)
	}
	if e.self {
		return "it will be served by itself"
	}
	return fmt.Sprintf("it will be served by %q", e.to)
}

// pending returns the reason for the wait as the operator reads it, and how to avoid the
// wait.
func (e exposure) pending(why fault.Fault) fault.Fault {
	if e.delivered {
		why.Found = fmt.Sprintf("the credential of %q will be written to hosts.toml once no pull can still carry the old credential", e.to)
		why.Fix = "to switch at once, restart the kubelet"
		return why
	}
	to, of := fmt.Sprintf("%q", e.to), "the previous one"
	if e.to == itself {
		to = "the source itself"
	}
	if e.of != "" {
		of = fmt.Sprintf("that of %q", e.of)
	}
	why.Found = fmt.Sprintf("%s is new to this mirror and gets no credential from the map, so it must not see %s", to, of)
	why.Fix = "to switch at once, restart the kubelet, or write share_credential = true if it may"
	return why
}

// exposed returns what a mirror's new targets expose, nil if that is nothing. A
// registry with a credential in the map is one that the operator logs in to, so it
// may see the old credential; so may a registry that was in the list before.
func (s *source) exposed() *exposure {
	open := func(t route.Target) bool { return !t.NeedsCredential() }
	if s.Elsewhere || !s.routes.needed {
		return nil
	}
	if e := s.delivered(); e != nil {
		return e
	}
	if s.ShareCredential || !slices.ContainsFunc(s.next.Targets, open) {
		return nil
	}
	before, list, known := s.served()
	for i := range s.Targets {
		t := s.next.Targets[i]
		if t.NeedsCredential() || slices.Contains(list, t.Registry) || slices.Contains(list, itself) && s.Targets[i].Self() {
			continue
		}
		e := &exposure{to: t.Registry, self: s.Targets[i].Self(), before: before}
		if !known {
			e.before.Generations = nil // of which one may be missing
			return e
		}
		for _, g := range before.Generations {
			if !g.Anonymous() && !slices.Contains(registries(g), t.Registry) {
				e.of = owner(g)
				return e
			}
		}
	}
	return nil
}

// itself stands for the source itself in a list of registries.
const itself = ""

// served returns the route by which the plugin answered for a source until now, and
// the registries that containerd asks for it; each of those may have the credentials
// already. known is false if one of mirrorcred's hosts.toml files is in force and no
// route has it.
func (s *source) served() (before route.Route, list []string, known bool) {
	before = s.own
	if _, exists := s.tree.namespaces[s.file.Namespace]; exists || before.Withdrawn != "" {
		list, known = observedRegistries(before, s.ns, s.file.Namespace, s.Version)
		return before, list, known
	}
	// Its hosts.toml was taken away by another program, or was never there.
	if !s.kubelets.mayHaveRun(s.Source) {
		before.Generations = nil
	}
	ns, exists := s.tree.namespaces[hosts.Default]
	if !exists {
		return before, []string{itself}, true
	}
	any, _ := s.routes.of(hosts.Default)
	list, known = observedRegistries(any, ns, hosts.Default, s.Version)
	any.Generations = append(slices.Clone(any.Generations), before.Generations...)
	return any, list, known
}

// observedRegistries returns the registries in the hosts.toml of a namespace, and
// whether what was answered under it is known.
func observedRegistries(r route.Route, ns Namespace, name string, v hosts.Version) ([]string, bool) {
	if g, ok := observedGeneration(r, ns); ok {
		return registries(g), true
	}
	if len(ns.Hosts) == 0 || ns.Owner() != hosts.Ours {
		return nil, true // under it nothing was answered
	}
	var list []string
	endpoints, _ := hosts.Read(ns.Hosts, hosts.HostOf(name), v)
	for _, e := range endpoints {
		if e.Source && name == hosts.Default {
			e.Host = itself
		}
		list = append(list, e.Host)
	}
	return list, false
}

// registries returns those of a generation's targets.
func registries(g route.Generation) []string {
	list := make([]string, len(g.Targets))
	for i, t := range g.Targets {
		list[i] = t.Registry
	}
	return list
}

// owner returns a registry of a generation that has a credential.
func owner(g route.Generation) string {
	if i := slices.IndexFunc(g.Targets, route.Target.NeedsCredential); i >= 0 {
		return g.Targets[i].Registry
	}
	return ""
}
