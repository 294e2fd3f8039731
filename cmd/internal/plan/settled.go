package plan

import "bytes"

// settled returns the namespaces whose hosts.toml and route are, byte for byte, what
// the map asks for, and whether each is anonymous. Nearly all of 10,000 are, and each
// of the other parts can pass over them. The route of "*" is never one: what belongs in
// it is not known yet.
func settled(d *Desired, r routes, t tree) map[string]bool {
	is, isAnonymous := make([]bool, len(d.Files)), make([]bool, len(d.Files))
	inParallel(len(d.Files), func(first, step int) {
		for i := first; i < len(d.Files); i += step {
			is[i], isAnonymous[i] = isSettled(d, r, t, i)
		}
	})
	list := make(map[string]bool, len(r.files))
	for i, f := range d.Files {
		if is[i] {
			list[f.Namespace] = isAnonymous[i]
		}
	}
	return list
}

// isSettled is [settled] for the mirror with that index.
func isSettled(d *Desired, r routes, t tree, i int) (is, isAnonymous bool) {
	f := d.Files[i]
	if d.Map.Mirrors[i].Source.Any() || !t.namespaces[f.Namespace].Holds(f) {
		return false, false
	}
	want, err := d.sole(i)
	hasMode := !f.Secret && !want.isClosed || r.closed[f.Namespace]
	return err == nil && hasMode && bytes.Equal(r.files[f.Namespace], want.data), want.isAnonymous
}
