package plan

import (
	"maps"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// heldBack is what stays as it is for now although the map changes or removes it.
type heldBack struct {
	share
	// names are the namespaces that the map does not name any more.
	names map[string]bool
	// providers are ours as the kubelet has them, if any removal is held.
	providers []kubeletconfig.Provider
}

// holdRemovals returns the namespaces that stay as they are although the map does
// not name them any more.
func holdRemovals(d *Desired, o *Observed, p plugin, r routes, t tree) heldBack {
	var names []string
	for name := range t.namespaces {
		if !d.Wanted[name] && t.isOurs(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	h := heldBack{names: map[string]bool{}}
	for _, name := range names {
		if own, _ := r.of(name); isHeld(d, o, p, name, own) {
			h.names[name] = true
			h.share.held = append(h.share.held, heldSource(name))
		}
	}
	if len(h.names) > 0 {
		h.providers = o.Kubelet.ourProviders(false)
	}
	return h
}

// isHeld reports whether the removal of a namespace's mirror is held. A mirror that is
// already withdrawn is not held: its drain goes on to the end.
func isHeld(d *Desired, o *Observed, p plugin, name string, own route.Route) bool {
	_, begun := o.State.Drains[name]
	return !p.isDecided(own.Withdrawn != "", begun) && d.Hold(hosts.HostOf(name))
}

func heldSource(name string) Pending {
	return Pending{hosts.HostOf(name), "removed from the map; applied once the map has not changed for 2 s"}
}

// missing returns the providers that only held mirrors still need. list are the map's
// providers that get tokens.
func (h heldBack) missing(list []kubeletconfig.Provider) []kubeletconfig.Provider {
	var kept []kubeletconfig.Provider
	for _, b := range h.providers {
		named := func(one kubeletconfig.Provider) bool { return one.Name == b.Name }
		if b.Name != PluginName && !slices.ContainsFunc(list, named) {
			kept = append(kept, kubeletconfig.Provider{Name: b.Name, MatchImages: b.MatchImages, Args: b.Args, TokenAttributes: b.TokenAttributes})
		}
	}
	return kept
}

// holdSwitches returns the namespaces that stay as they are for now because their
// source would serve itself again.
func holdSwitches(in *situation) map[string]bool {
	held := map[string]bool{}
	for i, m := range in.Map.Mirrors {
		f := in.Files[i]
		if !isOwnTarget(m) || in.tree.namespaces[f.Namespace].Holds(f) {
			continue
		}
		s := newSource(in, m, f)
		if e := s.judge().exposure; e != nil && e.self && isHeld(in.Desired, in.seen, in.kubelets.plugin, f.Namespace, s.own) {
			held[f.Namespace] = true
		}
	}
	return held
}

// moveHeld puts the present hosts_dir into the routes of held mirrors if it has
// changed. The plugin refuses a route for another hosts_dir, and the next plan would
// take the change for one that is not made yet.
func moveHeld(in *situation) share {
	var s share
	if in.routes.oldDir == "" {
		return s
	}
	for _, name := range slices.Sorted(maps.Keys(in.held)) {
		if r, ok := in.routes.of(name); ok {
			s = s.and(in.routes.write(StageRoutes, name, in.tree.namespaces[name].secret(), r))
		}
	}
	return s
}
