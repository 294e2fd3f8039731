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
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// noImage matches nothing. Our provider keeps it when the last source is gone:
// a kubelet whose configuration names no image does not start.
const noImage = "mirrorcred.invalid"

// A memo remembers which file of the kubelet was found to have our provider as
// it should be, so that a long file is not parsed again at each run.
type memo struct {
	File     string `json:"file,omitempty"`     // hash of the kubelet's files
	Provider string `json:"provider,omitempty"` // hash of our provider
}

// kubelet plans the kubelet's configuration.
func (p *planner) kubelet() error {
	provider := kubeletconfig.Provider{
		Name:        PluginName,
		MatchImages: p.matchImages(),
		Args:        []string{"--registry-mirror=@" + routesDir},
	}
	config := p.m.Kubelet.Config
	if len(provider.MatchImages) == 0 {
		entries, err := kubeletconfig.Read(kubeletconfig.Files(p.seen.kubelet.files)...)
		if err != nil || !slices.ContainsFunc(entries, func(e kubeletconfig.Entry) bool { return e.Name == PluginName }) {
			return nil // nothing to match, and nothing of ours there
		}
		provider.MatchImages = []string{noImage}
	}
	if err := p.checkBinary(); err != nil {
		return err
	}
	p.plan.match = provider.MatchImages
	seen := memo{hashFiles(p.seen.kubelet.files), hosts.Hash(fmt.Append(nil, provider))}
	p.plan.memo = seen
	if seen == p.seen.state.Memo {
		return nil
	}
	name, old, data, err := p.mergeProvider(provider)
	if err != nil {
		return fmt.Errorf("%s: the kubelet would not start with it: %w", p.path(config), err)
	}
	if string(old) != string(data) {
		if p.seen.kubelet.dir {
			config = path.Join(config, name)
		}
		p.add(Change{Stage: StageKubelet, Path: config, Old: old, New: data, mode: p.seen.kubelet.mode})
		after := maps.Clone(p.seen.kubelet.files)
		after[name] = data
		p.plan.memo.File = hashFiles(after)
	}
	return nil
}

// mergeProvider returns the file to write with our provider in it, and what is
// there now.
func (p *planner) mergeProvider(provider kubeletconfig.Provider) (name string, old, data []byte, err error) {
	files := p.seen.kubelet.files
	if p.seen.kubelet.dir {
		name, data, err = kubeletconfig.Dir(files, provider)
		return name, files[name], data, err
	}
	name = path.Base(p.m.Kubelet.Config)
	data, err = kubeletconfig.Config(files[name], provider)
	return name, files[name], data, err
}

func hashFiles(files map[string][]byte) string {
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = fmt.Appendf(all, "%q %s\n", name, hosts.Hash(files[name]))
	}
	return hosts.Hash(all)
}

// matchImages returns the patterns for which the kubelet shall run the plugin.
func (p *planner) matchImages() []string {
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
	any := p.m.Kubelet.MatchAny
	for _, m := range p.m.Mirrors {
		if m.Source.Any() {
			any = true
			continue
		}
		add(m.Source.String())
	}
	if _, ok := p.m.Azure(); ok {
		add(kubeletconfig.ACRHosts()...)
	}
	add(p.m.Kubelet.MatchImages...)
	if any {
		add(kubeletconfig.AnyHost()...)
	}
	return list
}

// checkBinary refuses to name a plugin that is not there: with it the kubelet
// would not start.
func (p *planner) checkBinary() error {
	name := p.path(p.m.Kubelet.BinDir, PluginName)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there, and the kubelet does not start with a configuration that names it; install it: install -D -m 0755 %s %s", name, PluginName, name)
	case err != nil:
		return describe(err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s cannot be executed, and the kubelet does not start with a configuration that names it; run chmod 0755 %s", name, name)
	}
	return nil
}

// kubelets returns the kubelets that run on the node, which is none where the
// node is not this machine. They are looked for once.
func (p *planner) kubelets() []process {
	if p.elsewhere() || p.err != nil {
		return nil
	}
	if p.run == nil {
		var err error
		if p.run, err = p.host.kubelets(); err != nil {
			p.err = fmt.Errorf("look for the kubelet: %w", err)
		}
		if p.run == nil {
			p.run = []process{}
		}
	}
	return p.run
}

// kubeletWait returns why a source that asks for a credential cannot be routed
// yet, "" where it can: each kubelet that runs has to run with a configuration
// that matches it.
func (p *planner) kubeletWait(s mirror.Source) string {
	for _, k := range p.kubelets() {
		if given, ok := k.flag("image-credential-provider-config"); !k.embedded && (!ok || path.Clean(given) != p.m.Kubelet.Config) {
			return fmt.Sprintf("the kubelet (process %d) runs without --image-credential-provider-config=%s; start it with that flag and --image-credential-provider-bin-dir=%s", k.pid, p.m.Kubelet.Config, p.m.Kubelet.BinDir)
		}
		if !matches(p.seen.state.matchedBy(k.started), s) {
			return fmt.Sprintf("the kubelet (process %d) started before its configuration named the source; restart it, then run this again", k.pid)
		}
	}
	return ""
}

// matches reports whether a provider with these patterns is run for the images
// of a source.
func matches(patterns []string, s mirror.Source) bool {
	if s.Any() {
		return slices.Contains(patterns, "*.*")
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		return pattern == s.String() ||
			strings.Contains(pattern, "*") && kubeletconfig.Matches(pattern, s.String()+"/any")
	})
}

// The drain of a removed mirror.
const (
	// settle is how long a credential that was answered may be on its way
	// before the kubelet has a record of the pull.
	settle = time.Minute
	// acrLife is how long an ACR refresh token lives, with a margin
	// (learn.microsoft.com/azure/container-registry/container-registry-authentication).
	acrLife = 3*time.Hour + 10*time.Minute
)

// drainWait returns why a removed mirror has to stay, "" where no pull that was
// given its credential can begin any more.
func (p *planner) drainWait(d drain, route credential.Route) string {
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

func onlyAzure(route credential.Route) bool {
	for _, g := range route.Generations {
		for _, t := range g.Targets {
			if t.Credential != nil && t.Credential.Kind != mirror.Azure || len(t.Below) > 0 {
				return false
			}
		}
	}
	return true
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
		var intent struct {
			Image string `json:"image"`
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
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
