package plan

import (
	"bytes"
	"maps"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// HostsDirs returns each hosts_dir that a route has. If there are no routes, it
// returns last.
func (r RouteFiles) HostsDirs(last string) []string {
	dirs := map[string]bool{}
	for _, data := range r.Data {
		if dir, ok := soleHostsDir(data); ok && dirs[dir] {
			continue // whether the route is whole or not, it adds nothing
		}
		if r, err := route.Decode(data); err == nil {
			dirs[r.HostsDir] = true
		}
	}
	if len(dirs) == 0 && last != "" {
		dirs[last] = true
	}
	return slices.Sorted(maps.Keys(dirs))
}

// soleHostsDir returns the hosts_dir of a route without decoding the route: nearly all
// of 10,000 routes have the same. It is false if a search is not enough.
func soleHostsDir(data []byte) (string, bool) {
	const key = `"hosts_dir":"`
	_, after, ok := bytes.Cut(data, []byte(key))
	dir, rest, ended := bytes.Cut(after, []byte(`"`))
	if !ok || !ended || bytes.ContainsRune(dir, '\\') || bytes.Contains(rest, []byte(key)) {
		return "", false
	}
	return string(dir), true
}

// routes are the route files as they are: what the plugin may answer until they
// change.
type routes struct {
	files  map[string][]byte
	decode func(data []byte) (route.Route, error)
	closed map[string]bool // those that no other user can read
	// dir is the hosts_dir that they must have, and oldDir the previous one if it
	// changes, else "".
	dir, oldDir string
	// needed says that the plugin may be run on the node. If not, there must be
	// no routes.
	needed  bool
	settled settled
}

func newRoutes(o *Observed, hostsDir string) routes {
	r := routes{files: o.Routes, decode: o.Decode, closed: o.ClosedRoutes, dir: hostsDir, oldDir: o.OldHostsDir}
	if r.decode == nil {
		r.decode = route.Decode
	}
	return r
}

// of returns the route of a namespace, and false if there is none, or if it is for
// another hosts_dir.
func (r routes) of(name string) (route.Route, bool) {
	data, ok := r.files[name]
	if !ok {
		return route.Route{}, false
	}
	one, err := r.decode(data)
	return one, err == nil && (one.HostsDir == r.dir || one.HostsDir == r.oldDir)
}

// isWithdrawn reports whether a route is withdrawn. Few are, and the others are not
// decoded for that.
func (r routes) isWithdrawn(name string) bool {
	if !bytes.Contains(r.files[name], []byte(`"withdrawn"`)) {
		return false
	}
	one, _ := r.of(name)
	return one.Withdrawn != ""
}

// isMoved reports whether the route of a namespace is for the present hosts_dir.
func (r routes) isMoved(name string) bool {
	one, ok := r.of(name)
	return ok && one.HostsDir == r.dir
}

// path returns the file of a namespace's route.
func (r routes) path(name string) string { return path.Join(RoutesDir, name+".json") }

// write returns the share that writes a route. secret says that it is for a hosts.toml
// with a secret in it.
func (r routes) write(stage Stage, name string, secret bool, next route.Route) share {
	if !r.needed {
		return share{}
	}
	c, isThere, err := r.change(name, secret, next)
	switch {
	case err != nil:
		return share{err: err}
	case isThere && stage != StageForget:
		return share{}
	}
	c.Stage, c.Path = stage, r.path(name)
	return share{changes: []Change{c}}
}

// change returns what a route's file was and will be, and whether it is right as it is.
func (r routes) change(name string, secret bool, next route.Route) (c Change, isThere bool, err error) {
	next.HostsDir = r.dir
	data, err := next.Encode()
	if err != nil {
		return Change{}, false, err
	}
	c = Change{Old: r.files[name], New: data, Mode: 0o644}
	if secret || closedRoute(next) {
		// The hash of a file with a secret in it would let others guess.
		c.Mode = 0o600
	}
	return c, bytes.Equal(c.Old, data) && (c.Mode != 0o600 || r.closed[name]), nil
}

// closedRoute reports whether a route has a command from a map that only root can
// read.
func closedRoute(r route.Route) bool {
	closed := func(c mirror.Credential) bool { return c.Closed }
	any := func(list route.Credentials) bool { return slices.ContainsFunc(list, closed) }
	for _, g := range r.Generations {
		for _, t := range g.Targets {
			if any(t.Credentials) || slices.ContainsFunc(t.Below, func(b route.Below) bool { return any(b.Credentials) }) {
				return true
			}
		}
	}
	return r.Direct != nil && closed(*r.Direct)
}

// observedGeneration returns the generation of the hosts.toml that is in a namespace now, if
// the route knows it.
func observedGeneration(r route.Route, ns Namespace) (route.Generation, bool) {
	if ns.Hosts == nil {
		return route.Generation{}, false
	}
	hash := hosts.Hash(ns.Hosts)
	i := slices.IndexFunc(r.Generations, func(g route.Generation) bool { return g.SHA256 == hash })
	if i < 0 {
		return route.Generation{}, false
	}
	return r.Generations[i], true
}

// withObserved returns the generations with the one that is in force now.
func withObserved(list []route.Generation, own route.Route, ns Namespace) []route.Generation {
	old, ok := observedGeneration(own, ns)
	if !ok || has(list, old) {
		return list
	}
	return append(slices.Clone(list), old)
}

func has(list []route.Generation, one route.Generation) bool {
	return slices.ContainsFunc(list, func(g route.Generation) bool { return g.SHA256 == one.SHA256 })
}
