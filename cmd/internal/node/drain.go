package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// holdBack finds the namespaces that stay as they are although the map does not
// name them any more.
func (p *planner) holdBack() {
	var names []string
	for name, ns := range p.seen.namespaces {
		if !p.wanted[name] && ns.odd == "" && ns.whose() == hosts.Ours {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		p.holds(name)
	}
	if len(p.held) > 0 {
		p.before = ourProviders(false, p.seen.kubelet.list()...)
	}
}

// holds reports whether the removal of a namespace's mirror is held. One that
// was withdrawn is not: that its drain ends was decided then.
func (p *planner) holds(name string) bool {
	source := sourceOf(name)
	own, _ := p.seenRoute(name)
	_, begun := p.seen.state.Drains[name]
	if own.Withdrawn != "" || begun && p.m.Kubelet.Stock || !p.hold(source) {
		return false
	}
	p.held[name] = true
	p.plan.Held = append(p.plan.Held, Wait{source, "its mirror was taken out of the map, which has to be still before that is believed"})
	return true
}

// removed plans the namespaces of ours that the map does not name any more.
func (p *planner) removed() {
	for _, name := range slices.Sorted(maps.Keys(p.seen.namespaces)) {
		ns := p.seen.namespaces[name]
		inMap := p.wanted[name]
		if inMap || ns.odd != "" || p.held[name] {
			continue
		}
		place := path.Join(p.plan.hostsDir, name, hosts.FileName)
		switch ns.whose() {
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
	route, _ := p.seenRoute(name)
	_, known := inForce(route, ns)
	anonymous := known && route.Withdrawn == "" && !slices.ContainsFunc(route.Generations, asksCredential)
	if !anonymous && !p.elsewhere && p.routed && p.drain(name, route, "its mirror was taken out of the mirror map") || p.stockDrain(name, ns) {
		return
	}
	p.add(Change{Stage: StageRemove, Path: place, Old: ns.hosts, secret: ns.secret(), dir: !ns.more})
	if ns.more {
		p.plan.Left = append(p.plan.Left, Left{path.Dir(place), "the map does not name its source any more, and there are other files in it; containerd asks the source itself as long as the directory is there, also where \"*\" has a mirror"})
	}
}

func asksCredential(g credential.Generation) bool { return !g.Anonymous() }

// fallback plans the route of every host that has none: without a mirror of
// "*" it says only what ACR login servers are answered.
func (p *planner) fallback() {
	inMap := p.wanted[hosts.Default]
	draining := p.draining(hosts.Default)
	if inMap || draining || p.held[hosts.Default] {
		return
	}
	stage := StageRoutes
	if ns := p.seen.namespaces[hosts.Default]; ns.whose() == hosts.Ours && ns.odd == "" {
		// It goes with this plan. Until then its route says that.
		stage = StageForget
	}
	p.writeRoute(stage, hosts.Default, false, credential.Route{Source: "*", HostsDir: p.plan.hostsDir, Direct: p.direct()})
}

// staleRoutes plans the end of routes that have neither a mirror nor a drain.
func (p *planner) staleRoutes() {
	for _, name := range slices.Sorted(maps.Keys(p.seen.routes)) {
		inMap := p.wanted[name]
		if p.routed && (inMap || p.draining(name) || p.held[name] || name == hosts.Default) {
			continue
		}
		p.add(Change{Stage: StageForget, Path: path.Join(routesDir, name+".json"), Old: p.seen.routes[name]})
	}
}

const (
	// settle is how long a credential that was answered may be on its way
	// before the kubelet has a record of the pull.
	settle = time.Minute
	// acrLife is how long an ACR refresh token lives, with a margin
	// (learn.microsoft.com/azure/container-registry/container-registry-authentication).
	acrLife = 3*time.Hour + 10*time.Minute
)

// drain reports whether a namespace has to stay as it is, because a pull that
// was given a credential of the route may still begin; nothing is answered for
// it meanwhile.
func (p *planner) drain(name string, route credential.Route, why string) bool {
	source := sourceOf(name)
	d, begun := p.seen.state.Drains[name]
	own, _ := p.seenRoute(name)
	reason := "its credential may still be in the kubelet's hands"
	if begun && own.Withdrawn != "" {
		reason = p.drainWait(d, route)
	} else {
		d = drain{Source: source, Since: p.now}
		p.plan.withdraw = append(p.plan.withdraw, name)
	}
	if reason == "" {
		p.plan.next.Drains[name] = d // until it is done
		p.plan.ended = append(p.plan.ended, name)
		return false
	}
	route.Source, route.HostsDir, route.Direct = source, p.plan.hostsDir, nil
	route.Withdrawn = why + " and is being drained; pulls of it fail until \"mirrorcred apply\" has ended that"
	p.writeRoute(StageRoutes, name, true, route)
	p.plan.next.Drains[name] = d
	p.plan.Draining = append(p.plan.Draining, Wait{source, reason})
	return true
}

// draining reports whether a namespace stays because of its drain.
func (p *planner) draining(name string) bool {
	_, ok := p.plan.next.Drains[name]
	return ok && !slices.Contains(p.plan.ended, name)
}

// sourceOf returns the source of a namespace (the inverse of hosts.Namespace):
// no host has an underscore in its name.
func sourceOf(namespace string) string {
	if namespace == hosts.Default {
		return "*"
	}
	host, isPort := strings.CutSuffix(namespace, "_")
	if i := strings.LastIndexByte(host, '_'); isPort && i >= 0 {
		return host[:i] + ":" + host[i+1:]
	}
	return namespace
}

// drainWait returns why a mirror that goes has to stay, "" where no pull that
// was given its credential can begin any more.
func (p *planner) drainWait(d drain, route credential.Route) string {
	if reason := p.stockKeeps(d.Source, d.Source); reason != "" {
		return reason
	}
	if d.Since.Boot != p.now.Boot {
		return ""
	}
	old := 0 // a kubelet from before the withdrawal
	for _, k := range p.kubelets() {
		if !d.Since.before(k.started) {
			old = k.pid
		}
	}
	waited := p.now.Since - d.Since.Since
	switch {
	case old == 0:
		return ""
	case waited < settle:
		return fmt.Sprintf("its credential may still be in the kubelet's hands for another %s", (settle - waited).Round(time.Second))
	case onlyAzure(route) && waited > acrLife:
		return ""
	}
	intents, known := p.pulling(d.Source)
	switch {
	case known && intents == 0:
		return ""
	case known:
		return fmt.Sprintf("the kubelet has %d pulls under way that may have its credential", intents)
	}
	return fmt.Sprintf("the kubelet (process %d) keeps no record of its pulls, so one may still have the credential; restart the kubelet", old)
}

// onlyAzure reports whether all credentials of a route are known to be ACR's,
// which end by themselves.
func onlyAzure(route credential.Route) bool {
	for _, g := range route.Generations {
		for _, t := range g.Targets {
			if t.Credential != nil && t.Credential.Kind != mirror.Azure || len(t.Below) > 0 {
				return false
			}
		}
	}
	return len(route.Generations) > 0
}

// pulling counts the kubelet's pull intents for a source, which it keeps as
// files from 1.35 on (k8s.io/kubernetes v1.36.3, pkg/kubelet/images/pullmanager);
// false where it keeps none. An intent that cannot be read counts.
func (p *planner) pulling(source string) (int, bool) {
	root := "/var/lib/kubelet"
	for _, k := range p.kubelets() {
		if dir, ok := k.flag("root-dir"); ok {
			root = dir
		}
	}
	dir := p.path(root, "image_manager", "pulling")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, false
	}
	count := 0
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		var intent struct {
			Image string `json:"image"`
		}
		if err == nil {
			err = json.Unmarshal(data, &intent)
		}
		image, err2 := mirror.ParseImage(intent.Image)
		if err != nil || err2 != nil || source == "*" || image.Host() == source {
			count++
		}
	}
	return count, true
}
