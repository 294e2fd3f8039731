package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A stockPlugin is [mirror.Stock], which the map may use instead of mirrorcred's
// plugin. It reads no routes: its arguments in the kubelet's configuration say which
// credential it returns for a source. The kubelet reads them only when it starts, so
// each change waits until the running kubelet has read it.
type stockPlugin struct{ m *mirror.Map }

// stockCache is how long the kubelet caches an answer that does not say so itself. It
// goes into a new entry, and is what AKS writes.
const stockCache = 10 * time.Minute

// stopFirst is the remedy for a kubelet that has other mirrors than the map: no pull
// may happen between the change and its next start.
const stopFirst = "stop the kubelet, run this, and start it again"

var onlyStock = []string{mirror.Stock}

func (*stockPlugin) Name() string                 { return mirror.Stock }
func (*stockPlugin) runs(provider string) bool    { return provider == mirror.Stock }
func (*stockPlugin) needs(mirror.Mirror) []string { return onlyStock }
func (*stockPlugin) ReadsRoutes() bool            { return false }
func (*stockPlugin) UsesProxy() bool              { return true }
func (*stockPlugin) mirrorsIn(e Entry) map[string]string {
	return stockArgs{pairs: e.Mirrors}.mirrors()
}
func (*stockPlugin) isDecided(isWithdrawn, isDraining bool) bool                 { return isWithdrawn || isDraining }
func (*stockPlugin) restart() string                                             { return stopFirst }
func (*stockPlugin) links(*configuring, []kubeletconfig.Provider) (share, error) { return share{}, nil }

// entry implements [plugin]. The plugin answers a mirror without the tokens that its entry
// may ask for.
func (*stockPlugin) entry(p kubeletconfig.Provider) Entry {
	return Entry{Name: p.Name, Match: p.MatchImages, Mirrors: readStockArgs(p.Args).pairs}
}

// lacks implements [plugin]. A mirror without a credential needs no argument.
func (*stockPlugin) lacks(m mirror.Mirror, matches bool, mirrors map[string]string) string {
	to, mapped := m.Mapping()
	switch {
	case mapped && (!matches || mirrors[m.Source.String()] != to.String()):
		return fmt.Sprintf("the mirror at %q", to)
	case !matches:
		return "the source"
	}
	return ""
}

// needsRoutes implements [plugin]: a kubelet may still have mirrorcred's plugin from before.
func (*stockPlugin) needsRoutes(ks *kubelets, areThere bool) bool {
	return areThere && (!ks.unseen.None() || slices.ContainsFunc(ks.list, func(k kubelet) bool { return !k.known || k.hasOwn }))
}

// mayAnswer implements [plugin]. A source that is new to the plugin need not wait.
func (*stockPlugin) mayAnswer(ks *kubelets, source string, ns Namespace) pendingReason {
	if _, named := ks.mapped[source]; !named && len(ns.Hosts) == 0 {
		return pendingReason{}
	}
	if !ks.unseen.None() {
		return pendingReason{why: ks.unseen}
	}
	for _, k := range ks.list {
		if !k.known {
			w := pendingFor(fmt.Sprintf("the kubelet (process %d) may have %s return a credential for it, since it is not known with which configuration it started", k.PID, mirror.Stock), stopFirst)
			w.restart = !ks.rejected
			return w
		}
	}
	return pendingReason{}
}

// entries implements [plugin]. It returns a new entry, or the present one, in which
// only the patterns and the mirrors are mirrorcred's.
func (p *stockPlugin) entries(c *configuring) (entries, error) {
	old, there, err := findStock(c.seen)
	if err != nil {
		return entries{}, c.faults(err)
	}
	before := readStockArgs(old.Args)
	e := entries{made: !there || stillMade(c.seen, old), mapped: before.mirrors(), desired: kubeletconfig.Desired{Stale: IsOwn}}
	mirrors, match := p.mirrors(c, e.mapped)
	azure := p.azureFile()
	if azure != "" {
		match = append(match, kubeletconfig.ACRHosts()...)
	}
	match = append(match, texts(p.m.Kubelet.MatchImages)...)
	switch {
	case there:
	case len(match) == 0 && len(c.seen.entries()) == 0:
		return e, nil
	default:
		old = kubeletconfig.Provider{
			Name: mirror.Stock, APIVersion: "credentialprovider.kubelet.k8s.io/v1",
			DefaultCacheDuration: &kubeletconfig.Duration{Duration: stockCache},
		}
	}
	if before.azure == "" {
		before.azure = azure
		if azure == "" {
			before.azure = mirror.DefaultAzureConfig
		}
		old.Args = append([]string{before.azure}, old.Args...)
	}
	if len(mirrors) > 0 {
		if azure != "" && before.azure != azure {
			return e, &fault.Fault{
				What:  "the kubelet's configuration and the map name different files for the node's identity",
				Where: c.path(c.Map.Kubelet.Config), Found: fmt.Sprintf("%s reads %s, but the map has %s", mirror.Stock, before.azure, azure),
				Fix: "use the same file: set config under [credential.azure]", Until: NotApplied,
			}
		}
		a, open := c.seen.ask(Question{About: AboutIdentity, Path: before.azure})
		if e.questions = open; a.Err != nil {
			return e, a.Err
		}
	}
	e.wanted = []kubeletconfig.Provider{withMirrors(old, match, strings.Join(mirrors, ","))}
	if e.made {
		e.desired.Providers = e.wanted
	} else {
		e.desired.Shared = e.wanted
	}
	return e, nil
}

// mirrors returns the mirrors for the plugin's arguments, with their patterns: those
// of the map, and those whose removal is held. before are the mirrors in its present
// arguments.
func (p *stockPlugin) mirrors(c *configuring, before map[string]string) (mirrors, match []string) {
	add := func(source, to string) {
		if to != "" {
			mirrors, match = append(mirrors, source+":"+to), append(match, source)
		}
	}
	for _, m := range p.m.Mirrors {
		add(m.Source.String(), p.mapping(c, m, before))
	}
	for _, name := range slices.Sorted(maps.Keys(c.held.removals)) {
		source := hosts.HostOf(name)
		add(source, before[source])
	}
	return mirrors, match
}

// mapping returns the login server for a mirror's source, "" if it gets none. While
// its hosts.toml is another program's or is blocked, the mapping stays as it is: with
// that file, containerd would send the credential wherever the file says.
func (p *stockPlugin) mapping(c *configuring, m mirror.Mirror, before map[string]string) string {
	to, ok := m.Mapping()
	if !ok {
		return ""
	}
	name := hosts.Namespace(m.Source)
	conflict, _ := c.tree.conflict(m)
	switch {
	case conflict.Reason == "" && !c.blocked[name]:
		return to.String()
	case c.tree.namespaces[name].Owner() == hosts.Edited:
		return ""
	}
	return before[m.Source.String()]
}

// azureFile returns the azure.json of the map, "" if it needs none.
func (p *stockPlugin) azureFile() string {
	for _, c := range p.m.Credentials {
		if c.Kind == mirror.Azure {
			return c.File
		}
	}
	return ""
}
