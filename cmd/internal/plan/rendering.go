package plan

import (
	"maps"
	"reflect"
	"runtime"
	"slices"
	"sync"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Rendering renders one map after the other, and renders only those mirrors again that
// differ from the last map's. The zero value has rendered nothing yet. It is for one
// goroutine.
type Rendering struct {
	of   renderedFor
	list []rendered // in the order of the last map
	at   map[mirror.Source]int
}

// renderedFor is what files and routes depend on besides their mirrors.
type renderedFor struct {
	options     hosts.Options
	hostsDir    string
	credentials []mirror.Credential
}

func (of renderedFor) equal(other renderedFor) bool {
	return of.options.Version == other.options.Version && maps.Equal(of.options.Secrets, other.options.Secrets) &&
		of.hostsDir == other.hostsDir && reflect.DeepEqual(of.credentials, other.credentials)
}

// A rendered is a mirror with what is written for it.
type rendered struct {
	mirror mirror.Mirror
	file   hosts.File
	sole   soleRoute
	// isPart says that targets are left out of the file for now. The route has them, so
	// that it is not that of a mirror without them.
	isPart bool
}

// A soleRoute is the route file of a mirror if the route has no other generation than
// that of the map.
type soleRoute struct {
	data []byte
	// isClosed says that only root may read it, and isAnonymous that it has no credential.
	isClosed, isAnonymous bool
}

// Render sets the files of d, for its map. The error is that of [hosts.Render].
func (r *Rendering) Render(d *Desired, o hosts.Options) error {
	of := renderedFor{o, d.Map.Containerd.HostsDir, d.Map.Credentials}
	if !r.of.equal(of) {
		r.list, r.at = nil, nil
	}
	next := make([]rendered, len(d.Map.Mirrors))
	var mu sync.Mutex
	var fault error
	faultAt := len(next)
	inParallel(len(next), func(first, step int) {
		renderer := hosts.NewRenderer(d.Map, o)
		for i := first; i < len(next); i += step {
			m := d.Map.Mirrors[i]
			isPart := d.leavesOut(i)
			if was := r.last(i, m); was != nil && !was.isPart && !isPart {
				next[i] = *was
				continue
			}
			file, err := renderer.Render(m)
			if err == nil {
				next[i] = rendered{mirror: m, file: file, isPart: isPart}
				next[i].sole, err = d.soleRoute(i, file)
			}
			if err == nil {
				continue
			}
			mu.Lock()
			defer mu.Unlock()
			if i < faultAt {
				fault, faultAt = err, i
			}
			return
		}
	})
	if fault != nil {
		return fault
	}
	r.remember(of, next)
	d.Files, d.rendered = make([]hosts.File, len(next)), next
	for i := range next {
		d.Files[i] = next[i].file
	}
	closeFiles(d.Files, d.full())
	return nil
}

// last returns what was rendered for the same mirror, which most often had the same
// place in the map; nil if there is none.
func (r *Rendering) last(i int, m mirror.Mirror) *rendered {
	if i >= len(r.list) || r.list[i].mirror.Source != m.Source {
		at, ok := r.at[m.Source]
		if !ok {
			return nil
		}
		i = at
	}
	if one := &r.list[i]; one.mirror.Equal(m) {
		return one
	}
	return nil
}

func (r *Rendering) remember(of renderedFor, next []rendered) {
	same := func(a, b rendered) bool { return a.mirror.Source == b.mirror.Source }
	if !slices.EqualFunc(r.list, next, same) {
		r.at = make(map[mirror.Source]int, len(next))
		for i := range next {
			r.at[next[i].mirror.Source] = i
		}
	}
	r.of, r.list = of, next
}

// leavesOut reports whether targets of a mirror are left out of its file for now.
func (d *Desired) leavesOut(i int) bool {
	return len(d.full().Mirrors[i].Targets) != len(d.Map.Mirrors[i].Targets)
}

// sole returns the sole route of a mirror, which [Rendering.Render] has made already.
func (d *Desired) sole(i int) (soleRoute, error) {
	if d.rendered != nil {
		return d.rendered[i].sole, nil
	}
	return d.soleRoute(i, d.Files[i])
}

func (d *Desired) soleRoute(i int, f hosts.File) (soleRoute, error) {
	m := d.Map.Mirrors[i]
	if m.Source.Any() {
		return soleRoute{}, nil // it has more in it
	}
	g := d.generation(m, f)
	next := route.Route{Source: m.Source.String(), HostsDir: d.Map.Containerd.HostsDir, Generations: []route.Generation{g}}
	data, err := next.Encode()
	return soleRoute{data: data, isClosed: closedRoute(next), isAnonymous: g.Anonymous()}, err
}

// inParallel calls do on all processors if there is much to do. Each call does every
// step-th part, beginning with first.
func inParallel(parts int, do func(first, step int)) {
	const few = 500 // parts that are not worth another goroutine
	step := min(runtime.GOMAXPROCS(0), 1+parts/few)
	if step == 1 {
		do(0, 1)
		return
	}
	var wait sync.WaitGroup
	for first := range step {
		wait.Go(func() { do(first, step) })
	}
	wait.Wait()
}
