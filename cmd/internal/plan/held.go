package plan

import (
	"maps"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// heldBack is what stays as it is for now although the map changes or removes it.
type heldBack struct {
	share
	// removals are the namespaces that the map does not name any more, and mirrors
	// those whose mirror it changes.
	removals, mirrors map[string]bool
	// providers are mirrorcred's as the kubelet has them, if anything is held.
	providers []kubeletconfig.Provider
}

// hold returns the namespaces that stay as they are although the map removes or changes
// them.
func hold(d *Desired, o *Observed, p plugin, r routes, t tree) heldBack {
	var names []string
	for name := range t.namespaces {
		if !d.Wanted[name] && t.isOurs(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	h := heldBack{removals: map[string]bool{}, mirrors: map[string]bool{}}
	for _, name := range names {
		if own, _ := r.of(name); isHeld(d, o, p, name, own) {
			h.removals[name] = true
			h.share.held = append(h.share.held, NewPending(hosts.HostOf(name), fault.Fault{What: "its mirror was removed from the map", Until: onceStill}))
		}
	}
	for _, name := range mayBeCutShort(d, p, r, t) {
		if own, _ := r.of(name); isHeld(d, o, p, name, own) {
			h.mirrors[name] = true // planSource reports it
		}
	}
	if len(h.removals)+len(h.mirrors) > 0 {
		h.providers = o.Kubelet.ownProviders(false)
	}
	return h
}

// onceStill is when a held source is applied.
const onceStill = "applied once the map has not changed for 2 s"

// isHeld reports whether the removal or change of a namespace's mirror is held. A mirror
// that is already withdrawn is not held: its drain goes on to the end.
func isHeld(d *Desired, o *Observed, p plugin, name string, own route.Route) bool {
	_, begun := o.State.Drains[name]
	return !p.isDecided(own.Withdrawn != "", begun) && d.Hold != nil && d.Hold(hosts.HostOf(name))
}

// missing returns the providers that only what is held still needs. list are the map's
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
