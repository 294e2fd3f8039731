package node

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Plan reads the map and the node and returns what to do. It changes nothing.
// The error has every fault of the map.
func (n *Node) Plan(ctx context.Context) (plan.Plan, error) {
	n.dry = true
	defer func() { n.dry = false }()
	p, err := n.plan(ctx, func(string) bool { return false })
	if err == nil {
		n.noteStopped(&p)
	}
	return p, err
}

// plan is [Node.Plan], except that the sources for which hold returns true stay as
// they are if the map removes them or takes a credential away from them.
func (n *Node) plan(ctx context.Context, hold func(source string) bool) (plan.Plan, error) {
	if err := n.checkRoot(); err != nil {
		return plan.Plan{}, err
	}
	n.takeChanges() // before anything is read
	// The disk is read while the map is parsed and rendered: if nothing is to do,
	// these two are most of the work.
	routes := background(func() (plan.RouteFiles, error) { return n.readRoutes(n.path(plan.RoutesDir)) })
	defer routes()
	m, secrets, err := n.readMap()
	if err != nil {
		return plan.Plan{}, errors.Join(plan.About(plan.PartMap, err), n.stillArmed(ctx, routes))
	}
	n.wantDeliver(m)
	n.driven = nil
	if !plan.PluginOf(m).ReadsRoutes() {
		n.driven = m
	}
	verdict, err := n.checkArmed(ctx, m.Containerd)
	if err != nil {
		n.advise(m.Containerd, err)
		return plan.Plan{}, plan.About(plan.PartContainerd, err)
	}
	n.rearmed = &verdict.Record
	d, o, err := n.states(reading{m, secrets, routes}, hold)
	if err != nil {
		return plan.Plan{}, err
	}
	o.Loss, o.Warnings = verdict.Loss, verdict.Warnings
	o.Containerd, _ = hosts.ParseVersion(verdict.Version) // an old one was refused
	if err := n.observeFurther(&o, d, d.Wanted); err != nil {
		return plan.Plan{}, err
	}
	now, err := n.now()
	if err != nil {
		return plan.Plan{}, err
	}
	n.observeKubelets(&o)
	var p plan.Plan
	err = n.answered(m, &o, now, func() (questions []plan.Question, err error) {
		p, questions, err = plan.Make(d, o, now)
		return questions, err
	})
	if err != nil {
		return plan.Plan{}, err
	}
	n.warn(&p, d, o, verdict.Logins)
	n.noteSource(&p)
	return p, nil
}

// A reading is the map, and the routes that are read meanwhile.
type reading struct {
	m       *mirror.Map
	secrets headerValues
	routes  func() (plan.RouteFiles, error)
}

// states returns the desired state, and what the disk shows of the observed one. The disk
// is read while the map is rendered.
func (n *Node) states(r reading, hold func(source string) bool) (plan.Desired, plan.Observed, error) {
	version, err := hosts.ParseVersion(r.m.Containerd.Version)
	if err != nil {
		return plan.Desired{}, plan.Observed{}, plan.About(plan.PartMap, fmt.Errorf("%s: %w", n.Map, err))
	}
	wanted := make(map[string]bool, len(r.m.Mirrors))
	for _, one := range r.m.Mirrors {
		wanted[hosts.Namespace(one.Source)] = true
	}
	seen := background(func() (plan.Observed, error) { return n.observe(r.m, wanted, r.routes) })
	defer seen()
	d := n.desire(r.m, hold)
	d.Version, d.Wanted = version, wanted
	d.Wall = n.host.wall()
	d.Full, d.Map = plan.Deliver(r.m, r.secrets.deliveries, d.Wall)
	if err := n.rendering.Render(&d, hosts.Options{Version: version, Secrets: r.secrets.values}); err != nil {
		return d, plan.Observed{}, plan.About(plan.PartMap, err)
	}
	o, err := seen()
	o.HeaderFaults, o.Deliveries = r.secrets.faults, r.secrets.deliveries
	return d, o, err
}

// now reads both clocks.
func (n *Node) now() (plan.Moments, error) {
	m, err := n.host.now()
	return plan.Moments{Moment: m, Wall: n.host.wall()}, err
}

// desire returns the desired state without the rendered files.
func (n *Node) desire(m *mirror.Map, hold func(source string) bool) plan.Desired {
	asked := map[string]bool{}
	// Whether the map has been still is asked of its file as it is by then.
	isReplaced := sync.OnceValue(func() bool { return !n.elsewhere && n.stampOfMap() != n.mapStamp })
	return plan.Desired{
		Map: m, MapFile: n.Map, Generation: n.source.generation(), Root: n.Root, Elsewhere: n.elsewhere, Adopt: n.Adopt, Retry: n.Retry, NoKubelet: n.NoKubelet, NoDelivery: n.NoDelivery,
		Hold: func(source string) bool { // asked once, even if the plan is made again
			answer, ok := asked[source]
			if !ok {
				answer = hold(source) || isReplaced()
				asked[source] = answer
			}
			return answer
		},
	}
}

// background calls f on a goroutine of its own, and returns a function that
// waits for it and returns what it returned.
func background[T any](f func() (T, error)) func() (T, error) {
	wait := sync.OnceValues(f)
	go wait()
	return wait
}

// A NotArmedError says why the plugin must not return credentials on this node.
type NotArmedError struct {
	Reason error
	// next says that containerd will read the map's hosts_dir after its next
	// start.
	next bool
}

// Error returns the reason and what it means, in one line.
func (e *NotArmedError) Error() string { return e.Reason.Error() + "; until then " + plan.MirrorsOff }

// Unwrap returns the reason.
func (e *NotArmedError) Unwrap() error { return e.Reason }
