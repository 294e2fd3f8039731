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

	kubeletv1 "k8s.io/kubelet/config/v1"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// tokenProvider returns the name of the provider of our own that is handed the
// pods' tokens which a credential is got with. Its executable is a link to the
// plugin: to the kubelet a provider is a name. So mirrors that need no token do
// not depend on whether the node may ask for one.
func tokenProvider(c mirror.Credential) string { return PluginName + "-" + c.Name }

// isTokenProvider reports whether a provider's name is one that tokenProvider
// returns.
func isTokenProvider(name string) bool { return strings.HasPrefix(name, PluginName+"-") }

// isOurs reports whether a provider of that name is ours.
func isOurs(name string) bool { return name == PluginName || isTokenProvider(name) }

// ours returns what of the kubelet's providers is ours, as the map has it.
func (p *planner) ours() (kubeletconfig.Ours, error) {
	var o kubeletconfig.Ours
	had := p.seen.state.last(mirror.Stock)
	if !p.m.Kubelet.Stock {
		o.Providers, o.Stale = p.providers(), isTokenProvider
		if had == nil {
			return o, nil
		}
	}
	stock, there, err := p.findStock()
	switch {
	case err != nil:
		return o, fmt.Errorf("%s: the kubelet would not start with it: %w", p.path(p.m.Kubelet.Config), err)
	case p.m.Kubelet.Stock:
		o.Stale = isOurs
		p.plan.next.Made = !there || p.stillMade(stock)
		if stock, err = p.stock(stock, there); stock.Name == "" {
			return o, err
		}
	case !there:
		return o, nil
	case p.stillMade(stock) && len(o.Providers) > 0:
		o.Stale = func(name string) bool { return isTokenProvider(name) || name == mirror.Stock }
		return o, nil
	default:
		stock = withMirrors(stock, nil, "")
	}
	if p.plan.next.Made {
		o.Providers = append(o.Providers, stock)
	} else {
		o.Shared = []kubeletconfig.Provider{stock}
	}
	return o, nil
}

// providers returns the providers of our plugin as the map has them, the
// plugin's own first where there is one.
func (p *planner) providers() []kubeletconfig.Provider {
	var list []kubeletconfig.Provider
	for _, c := range p.m.Credentials {
		if c.Token == nil {
			continue
		}
		match := p.matchImages(tokenProvider(c))
		if len(match) == 0 {
			continue
		}
		list = append(list, kubeletconfig.Provider{
			Name:        tokenProvider(c),
			MatchImages: match,
			Args:        append(p.args(), "--credential="+c.Name, "--audience="+c.Token.Audience),
			TokenAttributes: &kubeletv1.ServiceAccountTokenAttributes{
				ServiceAccountTokenAudience: c.Token.Audience,
				// The answers are not cached, so that this only says that a
				// token may be answered as the password.
				CacheType:                            kubeletv1.TokenServiceAccountTokenCacheType,
				RequireServiceAccount:                &c.Token.Required,
				RequiredServiceAccountAnnotationKeys: c.Token.RequiredAnnotations,
				OptionalServiceAccountAnnotationKeys: c.Token.Annotations,
			},
		})
	}
	list = append(list, p.kept(list)...)
	own := kubeletconfig.Provider{Name: PluginName, MatchImages: p.matchImages(PluginName), Args: p.args()}
	if len(own.MatchImages) == 0 {
		if len(list) == 0 && !slices.ContainsFunc(p.entries(), func(e entry) bool { return isOurs(e.Name) }) {
			return nil // nothing to match, and nothing of ours there
		}
		own.MatchImages = []string{noImage}
	}
	return append([]kubeletconfig.Provider{own}, list...)
}

// kept returns those providers that are handed tokens which the map has no more
// use for, and what is held has.
func (p *planner) kept(list []kubeletconfig.Provider) []kubeletconfig.Provider {
	var kept []kubeletconfig.Provider
	for _, b := range p.before {
		named := func(one kubeletconfig.Provider) bool { return one.Name == b.Name }
		if b.Name != PluginName && !slices.ContainsFunc(list, named) {
			kept = append(kept, kubeletconfig.Provider{Name: b.Name, MatchImages: b.MatchImages, Args: b.Args, TokenAttributes: b.TokenAttributes})
		}
	}
	return kept
}

// args returns the arguments that all our providers have.
func (p *planner) args() []string {
	args := []string{"--registry-mirror=@" + routesDir}
	switch log := p.m.Kubelet.AuditLog; log {
	case "":
	case "none":
		args = append(args, "--audit-log=")
	default:
		args = append(args, "--audit-log="+log)
	}
	return args
}

// matchImages returns the patterns for which the kubelet shall run a provider
// of ours.
func (p *planner) matchImages(provider string) []string {
	var list []string
	seen := map[string]bool{}
	add := func(patterns ...string) {
		for _, s := range patterns {
			if !seen[s] && kubeletconfig.CheckPattern(s) == nil {
				seen[s] = true
				list = append(list, s)
			}
		}
	}
	for _, b := range p.before {
		if b.Name == provider {
			add(b.MatchImages...) // what is held stays matched, with all that came with it
		}
	}
	any := p.m.Kubelet.MatchAny && provider == PluginName
	for _, m := range p.m.Mirrors {
		switch {
		case !slices.Contains(p.needs(m), provider):
		case m.Source.Any():
			any = true
		default:
			add(m.Source.String())
		}
	}
	direct := PluginName
	if c, ok := p.m.Azure(); ok {
		if c.TakesToken(true) {
			direct = tokenProvider(c)
		}
		if direct == provider {
			add(kubeletconfig.ACRHosts()...)
		}
	}
	if direct == provider {
		add(p.m.Kubelet.MatchImages...)
	}
	if any {
		add(kubeletconfig.AnyHost()...)
	}
	return list
}

// needs returns the providers of ours that answer for the images of a mirror:
// one for each credential that is got with a pod's token, and the plugin's own
// for the rest.
func (p *planner) needs(m mirror.Mirror) []string {
	if p.m.Kubelet.Stock {
		return onlyStock
	}
	if !p.hasTokens {
		return onlyOwn
	}
	var names []string
	add := func(t mirror.Target, name string) {
		provider := PluginName
		if c, ok := p.m.Credential(name); ok && c.TakesToken(t.Host().String() == m.Source.String()) {
			provider = tokenProvider(c)
		}
		if !slices.Contains(names, provider) {
			names = append(names, provider)
		}
	}
	for _, t := range m.Targets {
		add(t, t.Credential)
		for _, below := range t.Below {
			add(t, below.Credential)
		}
	}
	return names
}

// onlyOwn is what mirrors need where no credential is got with a token, and
// onlyStock where the plugin is not ours.
var onlyOwn, onlyStock = []string{PluginName}, []string{mirror.Stock}

// An entry is a provider of ours in the kubelet's configuration, as far as it
// matters which kubelet has read it.
type entry struct {
	Name  string   `json:"name"`
	Match []string `json:"match"`
	// Token is a hash of what says which token it is handed, "" for none.
	Token string `json:"token,omitempty"`
	// Mirrors are those that [mirror.Stock] is told, as it is told them.
	Mirrors string `json:"mirrors,omitempty"`
}

func newEntry(p kubeletconfig.Provider) entry {
	e := entry{Name: p.Name, Match: p.MatchImages}
	if p.Name == mirror.Stock {
		// Its tokens are not ours: it answers a mirror without.
		e.Mirrors = readStockArgs(p.Args).pairs
		return e
	}
	if p.TokenAttributes != nil {
		data, err := json.Marshal(p.TokenAttributes)
		if err != nil {
			panic(err) // strings and bools
		}
		e.Token = hosts.Hash(data)
	}
	return e
}

func newEntries(list []kubeletconfig.Provider) []entry {
	var entries []entry // nil for none
	for _, p := range list {
		entries = append(entries, newEntry(p))
	}
	return entries
}

func sameEntries(a, b []entry) bool {
	return slices.EqualFunc(a, b, func(a, b entry) bool {
		return a.Name == b.Name && a.Token == b.Token && a.Mirrors == b.Mirrors && slices.Equal(a.Match, b.Match)
	})
}

// entries returns our providers in the kubelet's configuration as it is.
func (p *planner) entries() []entry {
	return ourEntries(p.seen.state.last(mirror.Stock) != nil, p.seen.kubelet.list()...)
}

// list returns the files in the order of their names.
func (k kubeletFiles) list() []kubeletconfig.File {
	var files []kubeletconfig.File
	for _, name := range slices.Sorted(maps.Keys(k.files)) {
		files = append(files, kubeletconfig.File{Name: name, Data: k.files[name]})
	}
	return files
}

// ourEntries returns our providers in files of the kubelet's, the plugin's own
// first, and with them [mirror.Stock] where we drive it.
func ourEntries(withStock bool, files ...kubeletconfig.File) []entry {
	return newEntries(ourProviders(withStock, files...))
}

// ourProviders is [ourEntries] with all that the files say of them.
func ourProviders(withStock bool, files ...kubeletconfig.File) []kubeletconfig.Provider {
	read, err := kubeletconfig.Read(files...)
	if err != nil {
		return nil
	}
	var list []kubeletconfig.Provider
	for _, e := range read {
		switch {
		case e.Name == PluginName:
			list = slices.Insert(list, 0, e.CredentialProvider)
		case isTokenProvider(e.Name), withStock && e.Name == mirror.Stock:
			list = append(list, e.CredentialProvider)
		}
	}
	return list
}

// links plans the executables of the providers that are handed tokens.
func (p *planner) links(wanted []kubeletconfig.Provider) error {
	stale := maps.Clone(p.seen.links)
	for _, one := range wanted {
		if one.Name == PluginName {
			continue
		}
		place := path.Join(p.m.Kubelet.BinDir, one.Name)
		if err := p.checkLink(place); errors.Is(err, fs.ErrNotExist) {
			p.add(Change{Stage: StageRoutes, Path: place, New: []byte(PluginName), link: true})
		} else if err != nil {
			return err
		}
		delete(stale, one.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(stale)) {
		// The kubelet's configuration does not name it any more then.
		p.add(Change{Stage: StageForget, Path: path.Join(p.m.Kubelet.BinDir, name), Old: []byte(PluginName), link: true})
	}
	return nil
}

// readLinks returns the names of the links to the plugin that are ours.
func (o *observed) readLinks(binDir string) (map[string]bool, error) {
	list, err := o.list(binDir)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range list {
		if !isTokenProvider(e.Name()) || e.Type()&fs.ModeSymlink == 0 {
			continue
		}
		if to, err := os.Readlink(filepath.Join(binDir, e.Name())); err == nil && to == PluginName {
			names[e.Name()] = true
		}
	}
	return names, nil
}

// checkLink refuses an executable that is not the plugin under another name.
// The error is [fs.ErrNotExist] where there is none.
func (p *planner) checkLink(place string) error {
	name := p.path(place)
	info, err := os.Stat(name)
	if err != nil {
		if _, gone := os.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
			return fs.ErrNotExist
		}
		return fmt.Errorf("%s has to be a link to %s beside it, and leads nowhere; remove it", name, PluginName)
	}
	if plugin, err := os.Stat(p.path(p.m.Kubelet.BinDir, PluginName)); err != nil || !os.SameFile(info, plugin) {
		return fmt.Errorf("%s has to be a link to %s beside it, and is something else; remove it", name, PluginName)
	}
	return nil
}

// restoreLinks makes the links that providers need which come back.
func (n *Node) restoreLinks(binDir string, entries []entry) error {
	var files []file
	for _, e := range entries {
		place := n.path(binDir, e.Name)
		if _, err := os.Lstat(place); isTokenProvider(e.Name) && errors.Is(err, fs.ErrNotExist) {
			files = append(files, file{path: place, data: []byte(PluginName), link: true})
		}
	}
	return n.disk.write(files)
}
