package plan

import (
	"github.com/mirrorcred/mirrorcred/credential/route"
)

// settled returns the namespaces whose hosts.toml and route are, byte for byte, what
// the map asks for, and whether each is anonymous. Nearly all of 10,000 are, and each
// of the other parts can pass over them. The route of "*" is never one: what belongs in
// it is not known yet.
func settled(d *Desired, r routes, t tree) map[string]bool {
	list := make(map[string]bool, len(r.files))
	for i, m := range d.Map.Mirrors {
		f := d.Files[i]
		if m.Source.Any() || !t.namespaces[f.Namespace].Holds(f) {
			continue
		}
		next := d.generation(m, f)
		want := route.Route{Source: m.Source.String(), Generations: []route.Generation{next}}
		if _, isThere, err := r.change(f.Namespace, f.Secret, want); err == nil && isThere {
			list[f.Namespace] = next.Anonymous()
		}
	}
	return list
}
