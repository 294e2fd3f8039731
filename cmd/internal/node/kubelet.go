package node

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
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
	if len(provider.MatchImages) == 0 {
		if p.entry() == nil {
			return nil // nothing to match, and nothing of ours there
		}
		provider.MatchImages = []string{noImage}
	}
	if err := p.checkBinary(); err != nil {
		return err
	}
	p.plan.match = provider.MatchImages
	seen := memo{hashFiles(p.seen.kubelet.files), hosts.Hash(fmt.Appendf(nil, "%q", provider))}
	p.plan.memo = seen
	if seen == p.seen.state.Memo {
		return nil
	}
	if seen.Provider == p.seen.state.Rejected && !p.Retry {
		p.rejected, p.plan.match, p.plan.memo = true, nil, memo{}
		p.plan.next.Rejected = p.seen.state.Rejected
		return nil
	}
	if last := len(p.seen.state.Provided) - 1; last >= 0 && !slices.Equal(p.entry(), p.seen.state.Provided[last].Match) {
		// Somebody else wrote the file, and a kubelet may have started since.
		p.plan.next.Provided = nil
	}
	return p.addKubelet(provider)
}

// addKubelet plans the file with our provider in it.
func (p *planner) addKubelet(provider kubeletconfig.Provider) error {
	config := p.m.Kubelet.Config
	name, old, data, err := p.mergeProvider(provider)
	if err != nil {
		return fmt.Errorf("%s: the kubelet would not start with it: %w", p.path(config), err)
	}
	if string(old) == string(data) {
		return nil
	}
	if p.seen.kubelet.dir {
		config = path.Join(config, name)
	}
	p.add(Change{Stage: StageKubelet, Path: config, Old: old, New: data, mode: p.seen.kubelet.mode})
	after := maps.Clone(p.seen.kubelet.files)
	after[name] = data
	p.plan.memo.File = hashFiles(after)
	return nil
}

// entry returns what our provider matches in the kubelet's configuration as it
// is, and nil where there is none of ours.
func (p *planner) entry() []string {
	var files []kubeletconfig.File
	for _, name := range slices.Sorted(maps.Keys(p.seen.kubelet.files)) {
		files = append(files, kubeletconfig.File{Name: name, Data: p.seen.kubelet.files[name]})
	}
	return ourMatch(files...)
}

// ourMatch returns what our provider matches in files of the kubelet's, nil
// where there is none of ours.
func ourMatch(files ...kubeletconfig.File) []string {
	entries, err := kubeletconfig.Read(files...)
	i := slices.IndexFunc(entries, func(e kubeletconfig.Entry) bool { return e.Name == PluginName })
	if err != nil || i < 0 {
		return nil
	}
	return entries[i].MatchImages
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
