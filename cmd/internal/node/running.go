package node

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A kubelet is one that runs, and what it read when it started.
type kubelet struct {
	process
	astray string // why it does not run with our configuration, or ""
	known  bool   // whether it is known which providers it has
	// has are its providers of ours, by name and which token they are handed.
	has map[[2]string]matcher
	// hasOurs says that one of them runs our plugin.
	hasOurs bool
	// mirrors are what [mirror.Stock] is told, and answers the login server
	// whose credential it answers for a host.
	mirrors, answers map[string]string
}

// lacks returns what the kubelet's configuration does not name of what a mirror
// needs, "" where it has all that for all images of its source.
func (k kubelet) lacks(needs []entry, one mirror.Mirror) string {
	for _, e := range needs {
		m, ok := k.has[[2]string{e.Name, e.Token}]
		to, mapped := one.Mapping()
		switch {
		case ok && m.has(one.Source) && (e.Name != mirror.Stock || !mapped || k.mirrors[one.Source.String()] == to.String()):
		case e.Token != "":
			return "the token that its credential is got with"
		case e.Name == mirror.Stock && mapped:
			return fmt.Sprintf("the mirror at %q", to)
		default:
			return "the source"
		}
	}
	return ""
}

// hasOther reports whether the kubelet gets the credential of a mirror from the
// plugin that is not the map's any more, as it should have it.
func (k kubelet) hasOther(one mirror.Mirror, stock bool) bool {
	for key, m := range k.has {
		to, mapped := one.Mapping()
		if (key[0] != mirror.Stock) == stock && m.has(one.Source) && (stock || !mapped || k.mirrors[one.Source.String()] == to.String()) {
			return true
		}
	}
	return false
}

// kubelets returns the kubelets that run on the node, which is none where the
// node is not this machine. They are looked for once.
func (p *planner) kubelets() []kubelet {
	if p.run != nil || p.elsewhere || p.err != nil {
		return p.run
	}
	running, err := p.host.kubelets()
	if err != nil {
		p.err = fmt.Errorf("look for the kubelet: %w", err)
	}
	p.run = []kubelet{}
	for _, process := range running {
		read := p.plan.next.readBy(process.started)
		k := kubelet{process: process, astray: p.astray(process), known: read != nil, has: map[[2]string]matcher{}}
		for _, e := range read {
			k.has[[2]string{e.Name, e.Token}] = newMatcher(e.Match)
			k.hasOurs = k.hasOurs || isOurs(e.Name)
			if e.Name == mirror.Stock {
				k.mirrors = stockArgs{pairs: e.Mirrors}.mirrors()
				k.answers = byHost(k.mirrors)
			}
		}
		p.run = append(p.run, k)
	}
	return p.run
}

// astray returns why a kubelet does not run with our configuration, "" where
// it does or keeps its flags to itself.
func (p *planner) astray(k process) string {
	const configFlag, binDirFlag = "image-credential-provider-config", "image-credential-provider-bin-dir"
	want := p.m.Kubelet
	config, _ := k.flag(configFlag)
	binDir, _ := k.flag(binDirFlag)
	switch {
	case k.embedded:
		return ""
	case config == "" || path.Clean(config) != want.Config:
		return fmt.Sprintf("the kubelet (process %d) runs without --%s=%s; start it with that flag and --%s=%s", k.pid, configFlag, want.Config, binDirFlag, want.BinDir)
	case binDir == "" || path.Clean(binDir) != want.BinDir:
		return fmt.Sprintf("the kubelet (process %d) runs without --%s=%s; start it with that flag, or write its directory as bin_dir under [kubelet] in the map", k.pid, binDirFlag, want.BinDir)
	}
	return ""
}

// kubeletWait returns why a source that asks for a credential cannot be routed
// yet, "" where it can: each kubelet that runs has to run with a configuration
// that matches it.
func (p *planner) kubeletWait(m mirror.Mirror) string {
	needs := p.needed(m)
	for _, k := range p.kubelets() {
		lacks := k.lacks(needs, m)
		switch {
		case k.astray != "":
			return k.astray
		case lacks != "" && p.rejected:
			return "the kubelet did not come up with the configuration that names " + lacks + ", and has its old one back; see why with: journalctl -u kubelet, then run \"mirrorcred apply\" to try again"
		case lacks != "":
			p.plan.NeedsRestart = true
			do := "restart it, then run this again"
			if p.m.Kubelet.Stock {
				do = again
			}
			return fmt.Sprintf("the kubelet (process %d) started before its configuration named %s; %s", k.pid, lacks, do)
		}
	}
	return ""
}

// kubeletMisses returns why a kubelet is sure not to ask for the credential of
// a source that is routed already, or "". Unlike [planner.kubeletWait] it says
// nothing where that is merely not known, such as after the state was lost.
func (p *planner) kubeletMisses(m mirror.Mirror) string {
	needs := p.needed(m)
	for _, k := range p.kubelets() {
		lacks := k.lacks(needs, m)
		switch {
		case k.astray != "":
			return "it is routed, and its pulls have no credential: " + k.astray
		case k.known && lacks != "" && k.hasOther(m, p.m.Kubelet.Stock):
			p.plan.NeedsRestart = !p.rejected
			return fmt.Sprintf("it is routed, and the kubelet (process %d) has its credential from the plugin of before; restart the kubelet", k.pid)
		case k.known && lacks != "":
			p.plan.NeedsRestart = !p.rejected
			return fmt.Sprintf("it is routed, and its pulls have no credential: the kubelet (process %d) started with a configuration that does not name %s; restart the kubelet", k.pid, lacks)
		}
	}
	return ""
}

// needed returns our providers that answer for the images of a mirror, as the
// map has them.
func (p *planner) needed(m mirror.Mirror) []entry {
	var list []entry
	for _, name := range p.needs(m) {
		e := entry{Name: name}
		if i := slices.IndexFunc(p.wants, func(e entry) bool { return e.Name == name }); i >= 0 {
			e.Token = p.wants[i].Token
		}
		list = append(list, e)
	}
	return list
}

// A matcher knows for which sources the kubelet runs a provider.
type matcher struct {
	exact map[string]bool
	globs []string
}

func newMatcher(patterns []string) matcher {
	m := matcher{exact: make(map[string]bool, len(patterns))}
	for _, pattern := range patterns {
		m.exact[pattern] = true
		if strings.Contains(pattern, "*") {
			m.globs = append(m.globs, pattern)
		}
	}
	return m
}

// has reports whether the provider is run for all images of a source.
func (m matcher) has(s mirror.Source) bool {
	if s.Any() {
		return m.exact["*.*"]
	}
	if m.exact[s.String()] {
		return true
	}
	for _, glob := range m.globs {
		// A pattern with a path is not for all images.
		if !strings.Contains(glob, "/") && kubeletconfig.Matches(glob, s.String()+"/any") {
			return true
		}
	}
	return false
}
