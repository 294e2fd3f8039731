package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// noImage matches nothing. Our provider keeps it when the last source is gone:
// a kubelet whose configuration names no image does not start.
const noImage = "mirrorcred.invalid"

// A memo remembers which file of the kubelet was found to have our providers as
// they should be, so that a long file is not parsed again at each run.
type memo struct {
	File     string `json:"file,omitempty"`     // hash of the kubelet's files
	Provider string `json:"provider,omitempty"` // hash of our providers
}

// kubelet plans the kubelet's configuration.
func (p *planner) kubelet() error {
	ours, err := p.ours()
	if err != nil || len(ours.Providers)+len(ours.Shared) == 0 {
		return err
	}
	wanted := ours.Providers
	if p.m.Kubelet.Stock {
		wanted = slices.Concat(wanted, ours.Shared)
	}
	if len(wanted) > 0 {
		if err := p.checkBinary(wanted[0].Name); err != nil {
			return err
		}
	}
	if !p.m.Kubelet.Stock {
		if err := p.links(wanted); err != nil {
			return err
		}
	}
	if p.wants = newEntries(wanted); p.wants == nil {
		p.wants = []entry{} // the entry that is changed is none of ours any more
	}
	p.plan.entries = p.wants
	hash, err := hashProviders(slices.Concat(ours.Providers, ours.Shared))
	if err != nil {
		return err
	}
	seen := memo{hashFiles(p.seen.kubelet.files), hash}
	p.plan.memo = seen
	if seen == p.seen.state.Memo {
		return nil
	}
	if seen.Provider == p.seen.state.Rejected && !p.Retry {
		p.rejected, p.plan.entries, p.plan.memo = true, nil, memo{}
		p.plan.next.Rejected = p.seen.state.Rejected
		return nil
	}
	if last := len(p.seen.state.Provided) - 1; last >= 0 && !sameEntries(p.entries(), p.seen.state.Provided[last].Entries) {
		// Somebody else wrote the file, and a kubelet may have started since.
		p.plan.next.Provided = nil
	}
	return p.addKubelet(ours)
}

// addKubelet plans the file with our providers in it.
func (p *planner) addKubelet(ours kubeletconfig.Ours) error {
	config := p.m.Kubelet.Config
	name, old, data, err := p.mergeProviders(ours)
	if err != nil {
		return fmt.Errorf("%s: the kubelet would not start with it: %w", p.path(config), err)
	}
	if string(old) == string(data) {
		return nil
	}
	if slices.ContainsFunc(ours.Providers, func(one kubeletconfig.Provider) bool { return one.TokenAttributes != nil }) {
		if err := p.checkVersion(); err != nil {
			return err
		}
		p.newAudiences(ours.Providers)
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

// mergeProviders returns the file to write with our providers in it, and what
// is there now.
func (p *planner) mergeProviders(ours kubeletconfig.Ours) (name string, old, data []byte, err error) {
	files := p.seen.kubelet.files
	if p.seen.kubelet.dir {
		name, data, err = kubeletconfig.Dir(files, ours)
		return name, files[name], data, err
	}
	name = path.Base(p.m.Kubelet.Config)
	data, err = kubeletconfig.Config(files[name], ours)
	return name, files[name], data, err
}

func hashProviders(list []kubeletconfig.Provider) (string, error) {
	data, err := json.Marshal(list)
	return hosts.Hash(data), err
}

func hashFiles(files map[string][]byte) string {
	var all []byte
	for _, name := range slices.Sorted(maps.Keys(files)) {
		all = fmt.Appendf(all, "%q %s\n", name, hosts.Hash(files[name]))
	}
	return hosts.Hash(all)
}

// checkBinary refuses to name a plugin that is not there: with it the kubelet
// would not start.
func (p *planner) checkBinary(plugin string) error {
	name := p.path(p.m.Kubelet.BinDir, plugin)
	info, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is not there, and the kubelet does not start with a configuration that names it; install it: install -D -m 0755 %s %s", name, plugin, name)
	case err != nil:
		return describe(err)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s cannot be executed, and the kubelet does not start with a configuration that names it; run chmod 0755 %s", name, name)
	}
	return nil
}

// firstWithTokens is the first minor version of the kubelet that hands on
// tokens unless a feature gate keeps it from that. An earlier one does not
// start with a configuration that asks for it (k8s.io/kubernetes,
// pkg/features/kube_features.go, KubeletServiceAccountTokenForCredentialProviders).
const firstWithTokens = 34

// newAudiences notes which tokens the kubelet was not to hand on until now.
func (p *planner) newAudiences(wanted []kubeletconfig.Provider) {
	have := p.entries()
	for _, one := range wanted {
		if one.TokenAttributes == nil || slices.ContainsFunc(have, func(e entry) bool { return e.Token == newEntry(one).Token }) {
			continue
		}
		if a := one.TokenAttributes.ServiceAccountTokenAudience; !slices.Contains(p.plan.NewAudiences, a) {
			p.plan.NewAudiences = append(p.plan.NewAudiences, a)
		}
	}
}

// checkVersion refuses to have tokens handed on by a kubelet that would not
// start with that.
func (p *planner) checkVersion() error {
	if v := p.m.Kubelet.Version; v != "" {
		return checkTokens(v, "[kubelet] version says")
	}
	for _, k := range p.kubelets() {
		version, err := p.host.version(k.process)
		if err != nil {
			return fmt.Errorf("%s: the kubelet's version is needed for the audience of a credential: %w; write it under [kubelet], such as version = \"1.%d\"", p.Map, err, firstWithTokens)
		}
		if err := checkTokens(version, fmt.Sprintf("process %d is", k.pid)); err != nil {
			return fmt.Errorf("%s: %w", p.Map, err)
		}
	}
	return nil
}

func checkTokens(version, says string) error {
	var major, minor int
	if _, err := fmt.Sscanf(strings.TrimPrefix(version, "v"), "%d.%d", &major, &minor); err != nil || major > 1 || minor >= firstWithTokens {
		return err
	}
	return fmt.Errorf("%s kubelet %s, which does not start with a configuration that asks for tokens of pods; update it to 1.%d or later, or take audience out of the credentials", says, version, firstWithTokens)
}
