package node

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
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
	// Held are removed sources that were asked to stay as they are for now;
	// see [Node.ApplyUnless].
	Held []Wait `json:"-"`
	// Left are files that the map wants and that are not ours.
	Left []Left `json:"left"`
	// Sources is the number of sources in the map.
	Sources int `json:"sources"`
	// NeedsRestart says that sources which are pending, or draining, go on
	// when the kubelet is restarted.
	NeedsRestart bool `json:"needs_kubelet_restart"`
	// NewAudiences are those of the pods' tokens that the kubelet is to hand
	// on from this plan on, which the cluster has to allow its nodes.
	NewAudiences []string `json:"new_token_audiences,omitempty"`

	hostsDir  string
	binDir    string
	seen      state    // what is remembered
	next      state    // what to remember; From and Since of what is new are set when it is done
	memo      memo     // of the kubelet's configuration as it will be
	entries   []entry  // our providers; nil where nothing is to be known of them
	withdraw  []string // namespaces whose drain begins
	ended     []string // namespaces whose drain ends with this plan
	leftovers []string // of a killed run, to be removed first
}

// A Change is one file or directory to write or to remove.
type Change struct {
	Stage Stage  `json:"stage"`
	Path  string `json:"path"` // on the node, without its root
	Old   []byte `json:"-"`    // nil where there was none
	New   []byte `json:"-"`    // nil where it is removed

	mode   fs.FileMode
	secret bool // headers in it, before or after, are not to be shown
	dir    bool // the directory of the file is new, or goes with it
	save   bool // Old is somebody's and is kept elsewhere
	link   bool // it is a symbolic link, and Old and New are where it leads
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

// A planner makes a plan out of what the map wants and what is there.
type planner struct {
	*Node
	m      *mirror.Map
	wanted map[string]bool // the namespaces of the map
	hold   func(source string) bool
	held   map[string]bool          // the namespaces that hold said yes to
	before []kubeletconfig.Provider // ours as the kubelet has them, where something is held
	// hasTokens says that a credential is got with a pod's token.
	hasTokens bool
	seen      observed
	plan      Plan
	now       Moment
	wants     []entry   // our providers as the map has them
	run       []kubelet // looked for where something waits for one
	// rejected says that the kubelet did not come up with what the map asks
	// for, and has its old configuration.
	rejected bool
	// routed says that there are to be routes, and stockBefore is what the
	// entry of [mirror.Stock] maps as it is.
	routed      bool
	stockBefore map[string]string
	err         error
}

// Plan reads the map and the node and returns what has to be done. It changes
// nothing. The error says every fault of the map.
func (n *Node) Plan() (Plan, error) {
	return n.plan(func(string) bool { return false })
}

// plan is [Node.Plan] with the removed sources left as they are that hold says
// yes to.
func (n *Node) plan(hold func(source string) bool) (Plan, error) {
	// The disk is read while the map is parsed and rendered: the two are
	// most of the work where nothing is to do.
	routes := background(func() (routeFiles, error) { return readRoutes(n.path(routesDir)) })
	defer routes()
	m, secrets, err := n.readMap()
	if err != nil {
		return Plan{}, errors.Join(err, n.stillArmed(routes))
	}
	n.driven = nil
	if m.Kubelet.Stock {
		n.driven = m
	}
	if err := n.checkArmed(m.Containerd); err != nil {
		return Plan{}, err
	}
	version, err := hosts.ParseVersion(m.Containerd.Version)
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", n.Map, err)
	}
	p := planner{Node: n, m: m, wanted: make(map[string]bool, len(m.Mirrors)), hold: hold, held: map[string]bool{}}
	p.hasTokens = slices.ContainsFunc(m.Credentials, func(c mirror.Credential) bool { return c.Token != nil })
	for _, one := range m.Mirrors {
		p.wanted[hosts.Namespace(one.Source)] = true
	}
	seen := background(func() (observed, error) {
		return n.observe(m, p.wanted, routes)
	})
	defer seen()
	files, err := hosts.Render(m, hosts.Options{Version: version, Secrets: secrets})
	if err != nil {
		return Plan{}, fmt.Errorf("%s: %w", n.Map, err)
	}
	if p.seen, err = seen(); err != nil {
		return Plan{}, err
	}
	if p.now, err = n.host.now(); err != nil {
		return Plan{}, err
	}
	return p.make(files)
}

// background calls f on a goroutine of its own, and returns a function that
// waits for it and returns what it returned.
func background[T any](f func() (T, error)) func() (T, error) {
	wait := sync.OnceValues(f)
	go wait()
	return wait
}

// make plans everything, in the order of the files where there is no other.
func (p *planner) make(files []hosts.File) (Plan, error) {
	p.begin(len(files))
	p.holdBack()
	if err := p.kubelet(); err != nil {
		return Plan{}, err
	}
	if p.routed = p.needsRoutes(); !p.routed {
		if err := p.links(nil); err != nil {
			return Plan{}, err
		}
	}
	for i, f := range files {
		p.source(p.m.Mirrors[i], f)
	}
	p.removed()
	p.fallback()
	p.staleRoutes()
	slices.SortStableFunc(p.plan.Changes, func(a, b Change) int {
		return cmp.Or(
			cmp.Compare(slices.Index(stages, a.Stage), slices.Index(stages, b.Stage)),
			// The mirror of "*" comes last: it shall not serve for a moment
			// what has its own.
			cmp.Compare(a.rank(), b.rank()),
		)
	})
	return p.plan, p.err
}

// begin makes the plan an empty one for a map with that many sources.
func (p *planner) begin(sources int) {
	p.plan = Plan{
		Changes: []Change{}, Pending: []Wait{}, Draining: []Wait{}, Held: []Wait{}, Left: []Left{}, Sources: sources,
		hostsDir: p.m.Containerd.HostsDir, binDir: p.m.Kubelet.BinDir, leftovers: p.seen.leftovers,
		seen: p.seen.state,
		next: state{Containerd: p.m.Containerd, Drains: map[string]drain{}, Provided: p.seen.state.Provided},
	}
}

func (c Change) rank() int {
	if c.Stage == StageHosts && path.Base(path.Dir(c.Path)) == hosts.Default {
		return 1
	}
	return 0
}

// A NotArmedError says why credentials must not be answered on this node.
type NotArmedError struct{ Reason error }

// Error returns the reason.
func (e *NotArmedError) Error() string { return e.Reason.Error() }

// Unwrap returns the reason.
func (e *NotArmedError) Unwrap() error { return e.Reason }

func (p *planner) add(c Change) { p.plan.Changes = append(p.plan.Changes, c) }
