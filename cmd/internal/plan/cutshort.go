package plan

import (
	"reflect"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A map that is only half written may parse. What is missing then is its end: whole
// mirrors, and also the [registry] and [credential] tables of the mirrors that are
// there, whose targets look as if they needed no credential. Without a wait, pulls of
// such a mirror would get none, or it would drain because its new target seems to be
// a public registry. So these changes are held like removals.

// mayBeCutShort returns the mirrors of the map that a half-written map could have
// made of those in force, by namespace.
func mayBeCutShort(d *Desired, p plugin, r routes, t tree) []string {
	if !p.ReadsRoutes() && len(r.files) == 0 {
		return nil // the credentials are in the kubelet's file
	}
	var names []string
	for i, m := range d.Map.Mirrors {
		f := d.Files[i]
		if r.settled.at(i).isSettled {
			continue
		}
		ns, exists := t.namespaces[f.Namespace]
		if exists && len(ns.Hosts) > 0 && !t.isOurs(f.Namespace) {
			continue // it does not change for now, whatever is held
		}
		own, _ := r.of(f.Namespace)
		if _, known := observedGeneration(own, ns); t.isOurs(f.Namespace) && !known {
			continue // what is in force has no answer that could stay
		}
		if losesCredential(own, ns, d.generation(m, f)) || exists && len(d.full().Mirrors[i].Targets) == len(m.Targets) && losesHeader(ns.Hosts, f.Data) {
			names = append(names, f.Namespace)
		}
	}
	return names
}

// losesCredential reports whether a new generation has a registry without the
// credential that it has in the generation before, or a new registry without any.
func losesCredential(own route.Route, ns Namespace, next route.Generation) bool {
	before, ok := observedGeneration(own, ns)
	if i := slices.IndexFunc(own.Generations, func(g route.Generation) bool { return g.SHA256 == next.SHA256 }); !ok && i >= 0 {
		before = own.Generations[i] // another program took its hosts.toml away
	}
	return slices.ContainsFunc(next.Targets, func(t route.Target) bool {
		if t.Delivered {
			return false // its tables are there, with all that they say
		}
		i := slices.IndexFunc(before.Targets, func(b route.Target) bool { return b.Registry == t.Registry })
		if i < 0 {
			return !t.NeedsCredential()
		}
		b := before.Targets[i]
		return b.NeedsCredential() && !(reflect.DeepEqual(b.Credentials, t.Credentials) && reflect.DeepEqual(b.Below, t.Below))
	})
}

// keepMirror returns the share of a mirror that stays as it is for now although the
// map changes it.
func keepMirror(in *situation, m mirror.Mirror, f hosts.File) share {
	s := newSource(in, m, f)
	found := share{held: []Pending{NewPending(m.Source.String(), fault.Fault{What: "its targets or their credentials changed in the map", Until: onceStill})}}
	if s.ns.Holds(f) {
		found = found.and(in.tree.ignored(m, s.ns))
	} else {
		conflict, adopted := in.tree.conflict(m)
		if found.adopted = adopted; conflict.Reason != "" {
			found.conflicts = []Conflict{conflict}
		}
	}
	if s.own.Source == "" && !m.Source.Any() {
		return found // it has no route yet
	}
	return found.and(s.route(StageRoutes, s.own.Generations))
}
