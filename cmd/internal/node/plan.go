package node

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Plan is what has to change on a node for it to be as its map says, and
// what cannot change yet. It is made by [Node.Plan] and carried out by
// [Node.Apply]; both sides of a dry run see the same value.
type Plan struct {
	// Changes are made stage by stage, in this order.
	Changes []Change `json:"changes"`
	// Pending are sources that wait for the kubelet and are routed as
	// before.
	Pending []Wait `json:"pending"`
	// Draining are removed sources whose last pulls may still come.
	Draining []Wait `json:"draining"`
	// Left are files that the map wants and that are not ours.
	Left []Left `json:"left"`
	// Sources is the number of sources in the map.
	Sources int `json:"sources"`

	hostsDir string
	next     state    // what to remember; From and Since of what is new are set when it is done
	memo     memo     // of the kubelet's configuration as it will be
	match    []string // what our provider matches; nil where there is none
	withdraw []string // namespaces whose drain begins
}

// A Change is one file or directory to write or to remove.
type Change struct {
	Stage Stage  `json:"stage"`
	Path  string `json:"path"` // on the node, without its root
	Old   []byte `json:"-"`    // nil where there was none
	New   []byte `json:"-"`    // nil where it is removed

	mode   fs.FileMode
	secret bool // headers in it are not to be shown
	dir    bool // the directory of the file is new, or goes with it
	save   bool // Old is somebody's and is kept elsewhere
}

// A Stage is a step of a plan. The next one begins when the one before would
// survive a power cut.
type Stage string

// The stages in their order. Routes come before what containerd reads, so that
// a mirror is never in force without its credential; a namespace that goes has
// had its route withdrawn for some time.
const (
	StageRoutes  Stage = "routes"  // what may be answered from now on
	StageKubelet Stage = "kubelet" // the kubelet's configuration
	StageHosts   Stage = "hosts"   // what containerd reads
	StageRemove  Stage = "remove"  // namespaces whose drain is over
	StageForget  Stage = "forget"  // what may not be answered any more
)

var stages = []Stage{StageRoutes, StageKubelet, StageHosts, StageRemove, StageForget}

// A Wait is a source that is not as the map says yet, and why.
type Wait struct {
	Source string `json:"source"`
	Reason string `json:"reason"`
}

// A Left is something that is not ours and in the way.
type Left struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

// InStep reports whether nothing is left to do or to wait for.
func (p Plan) InStep() bool {
	return len(p.Changes) == 0 && len(p.Pending) == 0 && len(p.Draining) == 0 && len(p.Left) == 0
}

// A planner makes a plan out of what the map wants and what is there.
type planner struct {
	*Node
	m    *mirror.Map
	seen observed
	plan Plan
	now  Moment
	run  []process // kubelets; read where something waits for one
	err  error
}

// Plan reads the map and the node and returns what has to be done. It changes
// nothing. The error says every fault of the map.
func (n *Node) Plan() (Plan, error) {
	m, secrets, err := n.readMap()
	if err != nil {
		return Plan{}, err
	}
	if err := n.checkArmed(m.Containerd); err != nil {
		return Plan{}, &NotArmedError{err}
	}
	version, err := hosts.ParseVersion(m.Containerd.Version)
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", n.Map, err)
	}
	files, err := hosts.Render(m, hosts.Options{Version: version, Secrets: secrets})
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", n.Map, err)
	}
	wanted := make(map[string]hosts.File, len(files))
	for _, f := range files {
		wanted[f.Namespace] = f
	}
	seen, err := n.observe(m.Containerd.HostsDir, m.Kubelet.Config, wanted)
	if err != nil {
		return Plan{}, err
	}
	now, err := n.host.now()
	if err != nil {
		return Plan{}, err
	}
	p := planner{Node: n, m: m, seen: seen, now: now}
	p.plan.Sources, p.plan.hostsDir = len(files), m.Containerd.HostsDir
	p.plan.next = state{Drains: map[string]drain{}, Provided: seen.state.Provided, Memo: seen.state.Memo}
	if err := p.kubelet(); err != nil {
		return Plan{}, err
	}
	for i, f := range files {
		p.source(m.Mirrors[i], f)
	}
	p.removed(wanted)
	p.fallback(wanted)
	p.staleRoutes(wanted)
	slices.SortStableFunc(p.plan.Changes, func(a, b Change) int {
		return cmp.Compare(slices.Index(stages, a.Stage), slices.Index(stages, b.Stage))
	})
	return p.plan, p.err
}

// A NotArmedError says why credentials must not be answered on this node.
type NotArmedError struct{ Reason error }

// Error returns the reason.
func (e *NotArmedError) Error() string { return e.Reason.Error() }

// Unwrap returns the reason.
func (e *NotArmedError) Unwrap() error { return e.Reason }

func (p *planner) add(c Change) { p.plan.Changes = append(p.plan.Changes, c) }

// source plans one mirror: its route, and its hosts.toml where that may change
// now.
func (p *planner) source(m mirror.Mirror, f hosts.File) {
	ns := p.seen.namespaces[f.Namespace]
	generation := credential.NewGeneration(p.m, m, hosts.Hash(f.Data))
	place := path.Join(p.plan.hostsDir, f.Namespace, hosts.FileName)
	mode := fs.FileMode(0o644)
	if f.Secret {
		mode = 0o600
	}
	inPlace := bytes.Equal(ns.hosts, f.Data) && ns.odd == ""
	if inPlace && (!f.Secret || ns.mode == mode) {
		p.route(StageRoutes, m.Source, f.Namespace, f.Secret, generation)
		return
	}
	now := []credential.Generation{generation}
	if old, ok := p.inForce(f.Namespace, ns); ok && old.SHA256 != generation.SHA256 {
		now = append(now, old)
	}
	p.route(StageRoutes, m.Source, f.Namespace, f.Secret, now...)
	if reason := p.foreign(ns); reason != "" {
		p.plan.Left = append(p.plan.Left, Left{place, reason})
		return
	}
	if !inPlace && !generation.Anonymous() {
		if reason := p.kubeletWait(m.Source); reason != "" {
			p.plan.Pending = append(p.plan.Pending, Wait{m.Source.String(), reason})
			return
		}
	}
	_, exists := p.seen.namespaces[f.Namespace]
	p.add(Change{
		Stage: StageHosts, Path: place, Old: ns.hosts, New: f.Data, mode: mode, secret: f.Secret,
		dir: !exists, save: ns.whose != hosts.Ours && len(ns.hosts) > 0,
	})
	if len(now) > 1 {
		p.route(StageForget, m.Source, f.Namespace, f.Secret, generation)
	}
}

// foreign returns why a namespace is not written to, "" where it may be.
func (p *planner) foreign(ns namespace) string {
	switch {
	case ns.odd != "":
		return ns.odd + "; remove it, or take the source out of the map"
	case len(ns.hosts) == 0 || ns.whose == hosts.Ours || p.Adopt:
		return ""
	case ns.whose == hosts.Edited:
		return "it was edited since mirrorcred wrote it, so it gets no credential; put the change into the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
	}
	return "mirrorcred did not write it; move what it says into the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
}

// inForce returns the generation of the hosts.toml that is in a namespace now,
// where a route knows it.
func (p *planner) inForce(name string, ns namespace) (credential.Generation, bool) {
	route, err := credential.DecodeRoute(p.seen.routes[name])
	if err != nil || ns.hosts == nil || route.HostsDir != p.plan.hostsDir {
		return credential.Generation{}, false
	}
	hash := hosts.Hash(ns.hosts)
	for _, g := range route.Generations {
		if g.SHA256 == hash {
			return g, true
		}
	}
	return credential.Generation{}, false
}

// route plans the route file of a source.
func (p *planner) route(stage Stage, s mirror.Source, name string, secret bool, generations ...credential.Generation) {
	r := credential.Route{Source: s.String(), HostsDir: p.plan.hostsDir, Generations: generations}
	if s.Any() {
		r.Direct = p.direct()
	}
	p.writeRoute(stage, name, secret, r)
}

func (p *planner) direct() *mirror.Credential {
	if c, ok := p.m.Azure(); ok {
		return &c
	}
	return nil
}

func (p *planner) writeRoute(stage Stage, name string, secret bool, r credential.Route) {
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

// fallback plans the route of every host that has none: without a mirror of
// "*" it says only what ACR login servers are answered.
func (p *planner) fallback(wanted map[string]hosts.File) {
	if _, ok := wanted[hosts.Default]; ok {
		return
	}
	if _, draining := p.plan.next.Drains[hosts.Default]; draining {
		return
	}
	p.writeRoute(StageRoutes, hosts.Default, false, credential.Route{Source: "*", HostsDir: p.plan.hostsDir, Direct: p.direct()})
}

// removed plans the namespaces of ours that the map does not name any more.
func (p *planner) removed(wanted map[string]hosts.File) {
	for _, name := range slices.Sorted(maps.Keys(p.seen.namespaces)) {
		ns := p.seen.namespaces[name]
		_, inMap := wanted[name]
		if inMap || ns.odd != "" {
			continue
		}
		place := path.Join(p.plan.hostsDir, name, hosts.FileName)
		switch ns.whose {
		case hosts.Edited:
			p.plan.Left = append(p.plan.Left, Left{place, "the map does not name its source any more, and it was edited since mirrorcred wrote it; remove the directory if containerd shall ask the source itself"})
		case hosts.Ours:
			p.remove(name, ns, place)
		}
	}
}

// remove plans the way out of one namespace: its route is withdrawn, and when
// no pull that has its credential can begin any more it goes.
func (p *planner) remove(name string, ns namespace, place string) {
	route, err := credential.DecodeRoute(p.seen.routes[name])
	known := err == nil && route.HostsDir == p.plan.hostsDir
	anonymous := known && route.Withdrawn == "" &&
		!slices.ContainsFunc(route.Generations, func(g credential.Generation) bool { return !g.Anonymous() })
	d, begun := p.seen.state.Drains[name]
	begun = begun && route.Withdrawn != ""
	source := cmp.Or(route.Source, name)
	reason := ""
	if !anonymous && !p.elsewhere() {
		if begun {
			reason = p.drainWait(d, route)
		} else {
			reason = "its credential may still be in the kubelet's hands"
			d = drain{Source: source, Since: p.now}
			p.plan.withdraw = append(p.plan.withdraw, name)
		}
	}
	if reason != "" {
		route.Source, route.HostsDir = source, p.plan.hostsDir
		route.Withdrawn = "its mirror was taken out of the mirror map and is being drained; pulls of it fail until \"mirrorcred apply\" has removed it"
		if name == hosts.Default {
			route.Direct = nil
		}
		p.writeRoute(StageRoutes, name, true, route)
		p.plan.next.Drains[name] = d
		p.plan.Draining = append(p.plan.Draining, Wait{source, reason})
		return
	}
	p.add(Change{Stage: StageRemove, Path: place, Old: ns.hosts, secret: ns.mode&0o077 == 0, dir: !ns.more})
	if ns.more {
		p.plan.Left = append(p.plan.Left, Left{path.Dir(place), "the map does not name its source any more, and there are other files in it; containerd asks the source itself as long as the directory is there, also where \"*\" has a mirror"})
	}
}

// staleRoutes plans the end of routes that have neither a mirror nor a drain.
func (p *planner) staleRoutes(wanted map[string]hosts.File) {
	for _, name := range slices.Sorted(maps.Keys(p.seen.routes)) {
		_, inMap := wanted[name]
		_, draining := p.plan.next.Drains[name]
		if inMap || draining || name == hosts.Default {
			continue
		}
		p.add(Change{Stage: StageForget, Path: path.Join(routesDir, name+".json"), Old: p.seen.routes[name]})
	}
}
