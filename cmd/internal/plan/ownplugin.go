package plan

import (
	"encoding/json"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// An ownPlugin is mirrorcred's plugin. At each run it reads in the routes what it may
// return, so only its patterns and tokens are in the kubelet's configuration.
type ownPlugin struct {
	m *mirror.Map
	// hasTokens says that a credential needs a pod's token.
	hasTokens bool
}

func (ownPlugin) Name() string                                         { return PluginName }
func (ownPlugin) runs(provider string) bool                            { return IsOwn(provider) }
func (ownPlugin) needsRoutes(*kubelets, bool) bool                     { return true }
func (ownPlugin) ReadsRoutes() bool                                    { return true }
func (ownPlugin) UsesProxy() bool                                      { return false }
func (ownPlugin) mirrorsIn(Entry) map[string]string                    { return nil }
func (ownPlugin) isDecided(isWithdrawn, _ bool) bool                   { return isWithdrawn }
func (ownPlugin) restart() string                                      { return "restart it: systemctl restart kubelet" }
func (ownPlugin) mayAnswer(*kubelets, string, Namespace) pendingReason { return pendingReason{} }

// entry implements [plugin].
func (ownPlugin) entry(p kubeletconfig.Provider) Entry {
	e := Entry{Name: p.Name, Match: p.MatchImages}
	if p.TokenAttributes != nil {
		data, err := json.Marshal(p.TokenAttributes)
		if err != nil {
			panic(err) // strings and bools
		}
		e.Token = hosts.Hash(data)
	}
	return e
}

// lacks implements [plugin].
func (ownPlugin) lacks(_ mirror.Mirror, matches bool, _ map[string]string) string {
	if matches {
		return ""
	}
	return "the source"
}

// needs returns one provider for each credential that needs a pod's token, and the
// plugin's own provider for the rest. A mirror whose credentials all are in hosts.toml
// needs none, unless a registry wants its token realm.
func (p ownPlugin) needs(m mirror.Mirror) []string {
	if m.Delivers() && !slices.ContainsFunc(m.Targets, needsPlugin) {
		return nil
	}
	if !p.hasTokens {
		return onlyOwn
	}
	var names []string
	add := func(t mirror.Target, credentials []string) {
		if len(credentials) == 0 {
			credentials = onlyAnonymous
		}
		for _, name := range credentials {
			provider := PluginName
			if c, ok := p.m.Credential(name); ok && c.TakesToken(m.Source.Names(t.Host())) {
				provider = tokenProvider(c)
			}
			if !slices.Contains(names, provider) {
				names = append(names, provider)
			}
		}
	}
	for _, t := range m.Targets {
		if t.DeliverHosts {
			add(t, nil)
			continue
		}
		add(t, t.Credentials)
		for _, below := range t.Below {
			add(t, below.Credentials)
		}
	}
	return names
}

// onlyAnonymous are the credentials of a target without any.
var onlyAnonymous = []string{mirror.Anonymous}

// stillAnswers reports whether a provider has answered for a mirror whose credentials
// be in hosts.toml from now on, and may have to until that file is in place.
func (p ownPlugin) stillAnswers(c *configuring, m mirror.Mirror, provider string) bool {
	own, _ := newRoutes(c.seen, c.tree.dir).of(hosts.Namespace(m.Source))
	isAnswered := func(list route.Credentials, registry string) bool {
		host, err := mirror.ParseHost(registry)
		return slices.ContainsFunc([]mirror.Credential(list), func(one mirror.Credential) bool {
			if err == nil && one.TakesToken(m.Source.Names(host)) {
				return provider == tokenProvider(one)
			}
			return provider == PluginName
		})
	}
	for _, g := range own.Generations {
		for _, t := range g.Targets {
			if isAnswered(t.Credentials, t.Registry) || slices.ContainsFunc(t.Below, func(b route.Below) bool { return isAnswered(b.Credentials, t.Registry) }) {
				return true
			}
		}
	}
	return false
}

// needsPlugin reports whether the kubelet must run the plugin for a target.
func needsPlugin(t mirror.Target) bool {
	return t.DeliverHosts && t.Realm || t.NeedsCredential()
}

// onlyOwn is what mirrors need if no credential needs a token.
var onlyOwn = []string{PluginName}

// entries implements [plugin]. If the map used [mirror.Stock] before, its entry loses
// its mirrors, or is removed if mirrorcred made it.
func (p ownPlugin) entries(c *configuring) (entries, error) {
	wanted := p.providers(c)
	e := entries{wanted: wanted, desired: kubeletconfig.Desired{Providers: wanted, Stale: IsTokenProvider}}
	// A run that was killed may have written the entry without recording it.
	if c.seen.State.last(mirror.Stock) == nil && !c.seen.State.Made {
		return e, nil
	}
	stock, there, err := findStock(c.seen)
	switch {
	case err != nil:
		return e, c.faults(err)
	case !there:
	case stillMade(c.seen, stock) && len(wanted) > 0:
		e.desired.Stale = func(name string) bool { return IsTokenProvider(name) || name == mirror.Stock }
	default:
		e.desired.Shared = []kubeletconfig.Provider{withMirrors(stock, nil, "")}
	}
	return e, nil
}

// providers returns the providers as the map has them, the plugin's own first if
// there is one.
func (p ownPlugin) providers(c *configuring) []kubeletconfig.Provider {
	var list []kubeletconfig.Provider
	for _, one := range p.m.Credentials {
		if one.Token == nil {
			continue
		}
		match := p.matchImages(c, tokenProvider(one))
		if len(match) == 0 {
			continue
		}
		list = append(list, kubeletconfig.Provider{
			Name:        tokenProvider(one),
			MatchImages: match,
			Args:        append(p.args(), "--credential="+one.Name, "--audience="+one.Token.Audience),
			TokenAttributes: &kubeletconfig.TokenAttributes{
				ServiceAccountTokenAudience: one.Token.Audience,
				// The answers are not cached, so this only says that a token
				// may be returned as the password.
				CacheType:                            kubeletconfig.CacheByToken,
				RequireServiceAccount:                &one.Token.Required,
				RequiredServiceAccountAnnotationKeys: one.Token.RequiredAnnotations,
				OptionalServiceAccountAnnotationKeys: one.Token.Annotations,
			},
		})
	}
	list = append(list, c.held.missing(list)...)
	own := kubeletconfig.Provider{Name: PluginName, MatchImages: p.matchImages(c, PluginName), Args: p.args()}
	if len(own.MatchImages) == 0 {
		if len(list) == 0 && !slices.ContainsFunc(c.seen.entries(), func(e Entry) bool { return IsOwn(e.Name) }) {
			return nil // nothing to match, and no provider to keep
		}
		own.MatchImages = []string{NoImage}
	}
	return append([]kubeletconfig.Provider{own}, list...)
}

// args returns the arguments that all mirrorcred's providers have.
func (p ownPlugin) args() []string {
	args := []string{"--registry-mirror=@" + RoutesDir}
	switch log := p.m.Kubelet.AuditLog; log {
	case "":
	case "none":
		args = append(args, "--audit-log=")
	default:
		args = append(args, "--audit-log="+log)
	}
	return args
}

// matchImages returns the patterns for which the kubelet is to run a provider.
func (p ownPlugin) matchImages(c *configuring, provider string) []string {
	list := newPatterns()
	for _, b := range c.held.providers {
		if b.Name == provider {
			list.addValid(b.MatchImages...) // held sources stay matched
		}
	}
	any := p.m.Kubelet.MatchAny && provider == PluginName
	for _, m := range p.m.Mirrors {
		switch {
		case !slices.Contains(p.needs(m), provider) && !(m.Delivers() && p.stillAnswers(c, m, provider)):
		case m.Source.Any():
			any = true
		default:
			list.addValid(m.Source.String())
		}
	}
	direct := PluginName
	if c, ok := p.m.Azure(); ok {
		if c.TakesToken(true) {
			direct = tokenProvider(c)
		}
		if direct == provider {
			list.add(kubeletconfig.ACRHosts()...)
		}
	}
	if direct == provider {
		list.add(texts(p.m.Kubelet.MatchImages)...)
	}
	if any {
		list.add(kubeletconfig.AnyHost()...)
	}
	return list.list
}

// patterns are those that the kubelet takes, each once.
type patterns struct {
	list []string
	seen map[string]bool
}

func newPatterns() *patterns { return &patterns{seen: map[string]bool{}} }

func (p *patterns) add(more ...string) {
	for _, s := range more {
		if !p.seen[s] {
			p.seen[s] = true
			p.list = append(p.list, s)
		}
	}
}

// addValid is add for patterns that the kubelet may not take.
func (p *patterns) addValid(more ...string) {
	for _, s := range more {
		if p.seen[s] {
			continue
		}
		if _, err := mirror.ParsePattern(s); err == nil {
			p.add(s)
		}
	}
}

// texts returns patterns as they were written.
func texts(patterns []mirror.Pattern) []string {
	var list []string
	for _, pattern := range patterns {
		list = append(list, pattern.String())
	}
	return list
}
