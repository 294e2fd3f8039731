package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mirrorcred/mirrorcred/credential/azure/azurejson"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// In the place of our plugin the map may drive [mirror.Stock]. It reads no
// routes: which credential it answers for a source is an argument of it, in the
// kubelet's configuration, and so holds from one start of the kubelet to the
// next. What a kubelet that runs has read is therefore what everything waits
// for.

// stockCache is how long the kubelet keeps an answer that does not say it, where
// the entry is not there yet; it is what AKS writes.
const stockCache = 10 * time.Minute

// stock returns the entry of [mirror.Stock] as the map has it: the one that is
// there, of which the patterns and the mirrors alone are ours, or a new one.
func (p *planner) stock(old kubeletconfig.Provider, there bool) (kubeletconfig.Provider, error) {
	before := readStockArgs(old.Args)
	p.stockBefore = before.mirrors()
	var mirrors, match []string
	for _, m := range p.m.Mirrors {
		if to := p.mapping(m); to != "" {
			mirrors = append(mirrors, m.Source.String()+":"+to)
			match = append(match, m.Source.String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.held)) {
		if source := sourceOf(name); p.stockBefore[source] != "" {
			mirrors = append(mirrors, source+":"+p.stockBefore[source])
			match = append(match, source)
		}
	}
	azure := p.azureFile()
	if azure != "" {
		match = append(match, kubeletconfig.ACRHosts()...)
	}
	match = append(match, p.m.Kubelet.MatchImages...)
	switch {
	case there:
	case len(match) == 0 && len(p.entries()) == 0:
		return kubeletconfig.Provider{}, nil
	default:
		old = kubeletconfig.Provider{
			Name: mirror.Stock, APIVersion: "credentialprovider.kubelet.k8s.io/v1",
			DefaultCacheDuration: &metav1.Duration{Duration: stockCache},
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
		if err := p.checkIdentity(before.azure, azure); err != nil {
			return kubeletconfig.Provider{}, err
		}
	}
	return withMirrors(old, match, strings.Join(mirrors, ",")), nil
}

// mapping returns where a mirror's source is to be mapped, "" for nowhere. As
// long as its hosts.toml is somebody else's, it stays as it is: answered under
// that file, a credential goes wherever it says.
func (p *planner) mapping(m mirror.Mirror) string {
	to, ok := m.Mapping()
	ns := p.seen.namespaces[hosts.Namespace(m.Source)]
	switch {
	case !ok:
		return ""
	case p.foreign(ns) == "":
		return to.String()
	case ns.whose() == hosts.Edited:
		return ""
	}
	return p.stockBefore[m.Source.String()]
}

// stillMade reports whether an entry that is there is the one that we made, and
// nobody wrote another since.
func (p *planner) stillMade(stock kubeletconfig.Provider) bool {
	s := p.seen.state
	last := s.last(mirror.Stock)
	same := last != nil && sameEntries([]entry{*last}, []entry{newEntry(stock)})
	return s.Made && (same || s.Memo.File == hashFiles(p.seen.kubelet.files))
}

// azureFile returns the azure.json of the map, "" where it needs none.
func (p *planner) azureFile() string {
	for _, c := range p.m.Credentials {
		if c.Kind == mirror.Azure {
			return c.File
		}
	}
	return ""
}

// withMirrors returns an entry with other mirrors and with patterns added. The
// patterns that stand there for a mirror which goes, go with it.
func withMirrors(p kubeletconfig.Provider, match []string, mirrors string) kubeletconfig.Provider {
	drop := map[string]bool{noImage: true}
	for source := range readStockArgs(p.Args).mirrors() {
		drop[source] = true
	}
	for _, s := range match {
		drop[s] = false
	}
	patterns := slices.DeleteFunc(slices.Clone(p.MatchImages), func(s string) bool { return drop[s] })
	for _, s := range patterns {
		drop[s] = true // it is there
	}
	patterns = append(patterns, slices.DeleteFunc(match, func(s string) bool {
		there := drop[s]
		drop[s] = true
		return there
	})...)
	if len(patterns) == 0 {
		patterns = []string{noImage}
	}
	p.MatchImages, p.Args = patterns, withMirrorArg(p.Args, mirrors)
	return p
}

// checkIdentity refuses an identity with which the plugin answers no mirror
// (kubernetes-sigs/cloud-provider-azure, azure_credentials.go, GetCredentials).
// A file that is not there yet is no fault: it may come with the node's join.
func (p *planner) checkIdentity(file, said string) error {
	if said != "" && file != said {
		return fmt.Errorf("%s has %s read %s, and the map says %s; make them one, by config under [credential.azure]", p.path(p.m.Kubelet.Config), mirror.Stock, file, said)
	}
	name := p.path(file)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return describe(err)
	}
	azure, err := azurejson.Read(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !azure.Managed {
		return fmt.Errorf("%s names no managed identity, and with a service principal %s answers nothing for a mirror and says nothing of it; set useManagedIdentityExtension: true there, or leave plugin under [kubelet] out of the map", name, mirror.Stock)
	}
	return nil
}

// stockAnswer returns the login server whose credential the kubelet has
// [mirror.Stock] answer for a source, "" where it has none: that of a mirror, or
// of the source itself.
func (k kubelet) stockAnswer(source string) string {
	if to := k.answers[source]; to != "" {
		return to
	}
	m, ok := k.has[[2]string{mirror.Stock, ""}]
	if !ok {
		return ""
	}
	if s, err := mirror.ParseSource(source); err == nil && m.has(s) {
		if _, acr := s.Host().ACRSuffix(); acr {
			return source
		}
	}
	return ""
}

// again is what to do about a kubelet that has other mirrors than the map:
// between its start and this there shall be no pull.
const again = "stop the kubelet, run this, and start it again"

// stockKeeps returns why containerd cannot be sent to one host for a source, or
// to many where that is "": a kubelet that runs has [mirror.Stock] answer the
// credential of another for it. "" where none does.
func (p *planner) stockKeeps(source, host string) string {
	for _, k := range p.kubelets() {
		to := k.stockAnswer(source)
		switch {
		case to == "" || to == host:
		case p.rejected:
			return fmt.Sprintf("the kubelet (process %d) has %s answer the credential of %q for it, and did not come up with the configuration that ends that; see why with: journalctl -u kubelet, then run \"mirrorcred apply\" to try again", k.pid, mirror.Stock, to)
		default:
			p.plan.NeedsRestart = true
			return fmt.Sprintf("the kubelet (process %d) has %s answer the credential of %q for it, which no time ends; %s", k.pid, mirror.Stock, to, again)
		}
	}
	return ""
}

// stockMayKeep is [planner.stockKeeps] where a kubelet counts of which it is not
// known what it read, unless the source is new to it.
func (p *planner) stockMayKeep(source, host string, ns namespace) string {
	if reason := p.stockKeeps(source, host); reason != "" || !p.m.Kubelet.Stock {
		return reason
	}
	if _, named := p.stockBefore[source]; !named && len(ns.hosts) == 0 {
		return ""
	}
	for _, k := range p.kubelets() {
		if !k.known {
			p.plan.NeedsRestart = !p.rejected
			return fmt.Sprintf("the kubelet (process %d) may have %s answer a credential for it, since it is not known with which configuration it started; %s", k.pid, mirror.Stock, again)
		}
	}
	return ""
}

// only returns the one host that is asked for a mirror's images, "" where there
// are more, or no credential is meant for it.
func only(m mirror.Mirror) string {
	to, ok := m.Mapping()
	switch {
	case len(m.Targets) > 1:
		return ""
	case m.Targets[0].Self():
		return m.Source.String()
	case ok:
		return to.String()
	}
	return ""
}

// stockDrain reports whether a removed namespace has to stay because a kubelet
// still has [mirror.Stock] answer for its source.
func (p *planner) stockDrain(name string, ns namespace) bool {
	source := sourceOf(name)
	reason := p.stockMayKeep(source, source, ns) // which is asked itself then
	if reason == "" {
		return false
	}
	d, begun := p.seen.state.Drains[name]
	if !begun {
		d = drain{Source: source, Since: p.now}
		p.plan.withdraw = append(p.plan.withdraw, name)
	}
	p.plan.next.Drains[name] = d
	p.plan.Draining = append(p.plan.Draining, Wait{source, reason})
	return true
}

// needsRoutes reports whether our plugin may be run on the node: it is the map's,
// or a kubelet still has it from before.
func (p *planner) needsRoutes() bool {
	if !p.m.Kubelet.Stock {
		return true
	}
	return len(p.seen.routes) > 0 && slices.ContainsFunc(p.kubelets(), func(k kubelet) bool { return !k.known || k.hasOurs })
}

// unmap takes the mirrors out of the entry of [mirror.Stock], where the last
// good map drives that: what [Node.disarm] is for our plugin. The error says
// which kubelet still has them.
func (n *Node) unmap() error {
	if n.driven == nil {
		return nil
	}
	m := *n.driven
	m.Mirrors = nil
	p := planner{Node: n, m: &m}
	var err error
	if p.seen, err = n.observe(&m, nil, func() (routeFiles, error) { return routeFiles{}, nil }); err != nil {
		return err
	}
	if p.now, err = n.host.now(); err != nil {
		return err
	}
	p.begin(0)
	p.plan.next.Drains = p.seen.state.Drains
	if _, there, err := p.findStock(); err != nil || !there {
		return err
	}
	if err := p.kubelet(); err != nil {
		return err
	}
	if err := n.carryOut(p.plan); err != nil {
		return err
	}
	for _, k := range p.kubelets() {
		if !k.known || len(k.mirrors) > 0 {
			return fmt.Errorf("the kubelet (process %d) has %s answer for mirrors as before, which no time ends; restart it", k.pid, mirror.Stock)
		}
	}
	return p.err
}

// findStock returns the entry of [mirror.Stock] as it is.
func (p *planner) findStock() (kubeletconfig.Provider, bool, error) {
	return kubeletconfig.Find(p.seen.kubelet.list(), mirror.Stock)
}
