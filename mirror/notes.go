package mirror

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// maxNamed is how many registries a note names.
	maxNamed = 3
	// maxChecked is how many [registry] tables are compared with all targets:
	// more come from a program, which makes no slips.
	maxChecked = 20
)

// notes adds notes about what is valid but may be a mistake: targets that have no
// credential although the map does not say "anonymous", and tables that nothing
// uses.
// declared are the mirrors of the mirror tables.
func (p *parser) notes(declared []Mirror) {
	p.noteAnonymous(declared)
	p.noteRegistries(declared)
	p.noteCredentials()
}

func (p *parser) note(line int, format string, args ...any) {
	p.m.Notes = append(p.m.Notes, &Fault{File: p.file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// noteAnonymous notes the registries of targets that got no credential because
// the map names none. A source that serves itself is as it would be without a map.
func (p *parser) noteAnonymous(declared []Mirror) {
	var names []string
	line := 0
	seen := map[string]bool{}
	for _, m := range declared {
		for _, t := range m.Targets {
			if t.self || t.anonymous || t.DeliverHosts || t.NeedsCredential() || seen[t.host.name] {
				continue
			}
			seen[t.host.name] = true
			if line == 0 {
				line = m.Line
			}
			names = append(names, t.host.name)
		}
	}
	if len(names) == 0 {
		return
	}
	p.note(line, "no credential for %s; name one, or credential = \"anonymous\", in [registry.%q]", listed(names), names[0])
}

// noteRegistries notes the [registry] tables that apply to no target of the
// declared mirrors, if they look like a slip or do nothing at all. A table for a
// host that is not a source is neither: that registry serves itself.
func (p *parser) noteRegistries(declared []Mirror) {
	if len(p.registries) == 0 {
		return
	}
	used := make(map[int]bool, len(p.registries))
	var hosts []string // of the targets
	for _, m := range declared {
		for _, t := range m.Targets {
			hosts = append(hosts, t.host.name)
			for _, i := range p.tables(t) {
				if r := p.registries[i]; isBelow(t.prefix, r.prefix) || isBelow(r.prefix, t.prefix) {
					used[i] = true
				}
			}
		}
	}
	var names []string
	line := 0
	for i, r := range p.registries {
		if used[i] {
			continue
		}
		near := ""
		if i < maxChecked {
			near = nearest(r.host.name, hosts)
		}
		if near != "" && near != r.host.name {
			p.note(r.line, "[registry.%q] belongs to no target; did you mean %q?", r, near)
			continue
		}
		if p.m.bySource[r.host.name] >= len(declared) {
			continue // it serves itself, with these settings
		}
		if names = append(names, r.String()); line == 0 {
			line = r.line
		}
	}
	if len(names) > 0 {
		p.note(line, "no target uses the [registry] of %s, which is a source; its mirror's targets have settings of their own, so remove it", listed(names))
	}
}

// noteCredentials notes the credential tables that no registry names.
func (p *parser) noteCredentials() {
	used := map[string]bool{azureCredential: true} // ACR hosts that the map does not name use it
	for _, r := range p.registries {
		for _, name := range r.credentials {
			used[name] = true
		}
	}
	for _, c := range p.m.Credentials {
		if !used[c.Name] {
			p.note(p.credentialLines[c.Name], "[credential.%s] is not used; name it as the credential of a [registry], or remove it", c.Name)
		}
	}
}

// listed names a few of a list, and counts the others.
func listed(names []string) string {
	if len(names) > maxNamed {
		names = append(slices.Clone(names[:maxNamed]), fmt.Sprintf("%d more", len(names)-maxNamed))
	}
	if last := len(names) - 1; last > 0 {
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
	return names[0]
}
