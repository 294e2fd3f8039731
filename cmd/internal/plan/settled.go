package plan

import (
	"runtime"
	"sync"

	"github.com/mirrorcred/mirrorcred/credential/route"
)

// settled returns the namespaces whose hosts.toml and route are, byte for byte, what
// the map asks for, and whether each is anonymous. Nearly all of 10,000 are, and each
// of the other parts can pass over them. The route of "*" is never one: what belongs in
// it is not known yet.
//
// To find them is half of the work of a plan without changes, so all processors share it.
func settled(d *Desired, r routes, t tree) map[string]bool {
	const few = 500 // mirrors that are not worth another goroutine
	workers := min(runtime.GOMAXPROCS(0), 1+len(d.Files)/few)
	is, isAnonymous := make([]bool, len(d.Files)), make([]bool, len(d.Files))
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w; i < len(d.Files); i += workers {
				is[i], isAnonymous[i] = isSettled(d, r, t, i)
			}
		})
	}
	wait.Wait()
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
	m, f := d.Map.Mirrors[i], d.Files[i]
	if m.Source.Any() || !t.namespaces[f.Namespace].Holds(f) {
		return false, false
	}
	next := d.generation(m, f)
	want := route.Route{Source: m.Source.String(), Generations: []route.Generation{next}}
	_, isThere, err := r.change(f.Namespace, f.Secret, want)
	return err == nil && isThere, next.Anonymous()
}
