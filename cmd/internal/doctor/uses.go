package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A use is what a credential of the map is for.
type use struct {
	sources sources
	targets []place // each once, in the order of the map; of a docker configuration only
	seen    map[place]bool
	hosts   []mirror.Host // of all targets, each once
}

// A place is a part of a registry: its repositories below a prefix.
type place struct {
	registry mirror.Host
	prefix   string
	plain    bool // reached by plain http
}

func (p place) query() credential.Query {
	return credential.Query{Registry: p.registry, Plain: p.plain, Image: strings.TrimSuffix(p.registry.String()+"/"+p.prefix, "/")}
}

// uses returns what each credential of the map is for, by its name.
func uses(m *mirror.Map) map[string]*use {
	all := map[string]*use{}
	for _, c := range m.Credentials {
		all[c.Name] = &use{}
		if c.Kind == mirror.DockerConfig {
			all[c.Name].seen = map[place]bool{}
		}
	}
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			for _, name := range t.Credentials {
				all[name].add(one.Source, t, t.Prefix())
			}
			for _, below := range t.Below {
				for _, name := range below.Credentials {
					all[name].add(one.Source, t, below.Prefix)
				}
			}
		}
	}
	return all
}

// add notes a target that asks for the credential. u is nil for
// [mirror.Anonymous].
func (u *use) add(source mirror.Source, t mirror.Target, prefix string) {
	if u == nil {
		return
	}
	u.sources.add(source.String())
	if !slices.Contains(u.hosts, t.Host()) && len(u.hosts) < maxHosts {
		u.hosts = append(u.hosts, t.Host())
	}
	if at := (place{t.Host(), prefix, t.Scheme() == "http"}); u.seen != nil && !u.seen[at] {
		u.seen[at] = true
		u.targets = append(u.targets, at)
	}
}

// sources are the sources that a finding is about.
type sources struct {
	names []string // the first ones
	more  int
	also  string
	last  string
}

// maxHosts is how many registries of one credential are checked.
const maxHosts = 100

// maxNames is how many sources a finding names.
const maxNames = 2

func (s *sources) add(name string) {
	if s.last == name || slices.Contains(s.names, name) {
		return
	}
	s.last = name
	if len(s.names) < maxNames {
		s.names = append(s.names, name)
	} else {
		s.more++
	}
}

func (s sources) empty() bool { return len(s.names) == 0 && s.also == "" }

// String returns the sources as part of a sentence.
func (s sources) String() string {
	var parts []string
	for _, name := range s.names {
		parts = append(parts, fmt.Sprintf("%q", name))
	}
	switch {
	case s.more == 1:
		parts = append(parts, "one more source")
	case s.more > 1:
		parts = append(parts, fmt.Sprintf("%d more sources", s.more))
	}
	if s.also != "" {
		parts = append(parts, s.also)
	}
	text := parts[0]
	for i, part := range parts[1:] {
		if i == len(parts)-2 {
			text += " and " + part
		} else {
			text += ", " + part
		}
	}
	return text
}

func (s sources) noCredential() string {
	return "the pulls of " + s.String() + " get no credential from it"
}

func (s sources) withoutCredential() string { return "so " + s.noCredential() }
