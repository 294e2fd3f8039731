package mirror

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// mostBelow is how many [Target.Below] all targets of a map may have together: one
// table of a map is there once for each mirror of its registry.
const mostBelow = 250_000

// mostHeaders is how many bytes the headers of all targets of a map may have, for the
// same reason.
const mostHeaders = 32 << 20

// join gives each target the settings and the credential of its registry,
// serves the other registries as themselves, and refuses contradictions.
func (p *parser) join() {
	for i, r := range p.registries {
		p.registries[i].credentials = p.credentialNames(r)
	}
	for i := range p.m.Mirrors {
		m := &p.m.Mirrors[i]
		for j := range m.Targets {
			p.dress(&m.Targets[j], p.headers[i], m.Line)
		}
		p.checkShared(*m)
		p.checkMatchable(*m)
	}
	if p.below > mostBelow {
		p.add(0, "each mirror of a registry has all tables of the registry's repositories, which are %d in this map; write %d at most", p.below, mostBelow)
	}
	if p.headerBytes > mostHeaders {
		p.add(0, "each mirror of a registry has all headers of the registry, which are %d bytes in this map; write %d at most", p.headerBytes, mostHeaders)
	}
	declared := p.m.Mirrors
	p.serveRegistries()
	p.implyAzure()
	p.deliver(len(declared))
	p.checkStock()
	p.notes(declared)
}

// credentialNames returns the names of the credentials that a registry's table
// gives it, as [Target.Credentials] has them, and refuses those that it cannot
// use.
func (p *parser) credentialNames(r registry) []string {
	if len(r.listed) == 0 && !r.anonymous {
		return implied(r.host)
	}
	_, acr := r.host.ACRSuffix()
	for _, v := range r.listed {
		name := v.text
		c, ok := p.m.Credential(name)
		switch {
		case name == Anonymous:
			continue
		case !ok && name == azureCredential:
			c.Kind = Azure // implied
		case !ok:
			p.noCredential(r, v)
		}
		if c.Kind == Azure && !acr && !r.host.mayBePrivateACR() {
			p.add(v.line, "registry %q: credential %q is of kind \"azure\", but %q is not an ACR login server (NAME.azurecr.io); name another credential", r, name, r.host)
			p.name(NotAnACRHost)
		}
	}
	return texts(r.listed)
}

// implied returns the credentials of a host that the map gives none.
func implied(h Host) []string {
	if _, acr := h.ACRSuffix(); acr {
		return impliedAzure
	}
	return nil
}

// impliedAzure is one list for all targets that have it. It does not change.
var impliedAzure = []string{azureCredential}

// noCredential adds the fault of a registry that names a credential which the
// map does not have.
func (p *parser) noCredential(r registry, v *value) {
	name := v.text
	var names []string
	if len(p.list) < mostFaults { // each is compared with each
		for _, c := range p.m.Credentials {
			names = append(names, c.Name)
		}
	}
	parts := strings.FieldsFunc(name, func(r rune) bool { return r == ',' || r == ' ' })
	isPart := func(part string) bool { return part == Anonymous || slices.Contains(names, part) }
	switch near := nearest(name, names); {
	case len(parts) > 1 && slices.ContainsFunc(parts, isPart):
		p.add(v.line, "registry %q: %q is not one credential; write a list, like credential = [%q, %q]", r, name, parts[0], parts[1])
	case near != "":
		p.add(v.line, "registry %q: there is no [credential.%s]; did you mean %q?", r, name, near)
	case name == "none":
		p.add(v.line, "registry %q: there is no [credential.%s]; write \"anonymous\" for a registry without a credential", r, name)
	default:
		p.add(v.line, "registry %q: there is no [credential.%s]; add that table, or write \"anonymous\"", r, name)
	}
}

// dress gives a target the settings and the credential of its registry: of the
// table with the longest prefix of the target. Tables below the target's prefix
// give some of its repositories other credentials.
func (p *parser) dress(t *Target, headers []Header, line int) {
	var best *registry
	for _, i := range p.tables(*t) {
		r := &p.registries[i]
		switch {
		case isBelow(t.prefix, r.prefix):
			if best == nil || len(r.prefix) > len(best.prefix) {
				best = r
			}
		case isBelow(r.prefix, t.prefix):
			if p.below++; p.below > mostBelow {
				continue
			}
			t.Below = append(t.Below, PathCredential{r.prefix, r.credentials})
		}
	}
	slices.SortFunc(t.Below, func(a, b PathCredential) int {
		return cmp.Or(cmp.Compare(len(b.Prefix), len(a.Prefix)), cmp.Compare(a.Prefix, b.Prefix))
	})
	switch {
	case best != nil:
		t.anonymous = best.anonymous
		t.Settings, t.Credentials, t.lines = best.settings, best.credentials, best.lines
		t.DeliverHosts, t.TokenHost = best.hosts, best.tokenHost
		line = best.line
	case t.scheme == "https":
		t.Credentials = implied(t.host)
	}
	if key := t.Settings.forbidden(); key != "" && t.scheme == "http" {
		p.add(line, "%s: target %q is plain http, and with this setting containerd would try https first; remove it, or write https://", key, t)
	}
	t.Settings = t.Settings.with(headers)
	for _, h := range t.Settings.Header {
		p.headerBytes += len(h.Name) + len(h.File) + len(strings.Join(h.Values, ""))
	}
}

// tables returns the indices of the [registry] tables of a target's host, those
// that name its port first.
func (p *parser) tables(t Target) []int {
	if len(p.registries) == 0 {
		return nil
	}
	var list []int
	for _, name := range t.names() {
		list = append(list, p.byHost[name]...)
	}
	return list
}

// isBelow reports whether a repository is prefix or below it.
func isBelow(repository, prefix string) bool {
	rest, ok := strings.CutPrefix(repository, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// NeedsCredential reports whether the plugin returns a credential for any of the
// target's repositories.
func (t Target) NeedsCredential() bool {
	if t.DeliverHosts {
		return false
	}
	return len(t.Credentials) > 0 || slices.ContainsFunc(t.Below, func(b PathCredential) bool { return len(b.Credentials) > 0 })
}

// checkMatchable refuses a source that no image can name. It also refuses one
// that needs a credential if no matchImages pattern of the kubelet can match it.
func (p *parser) checkMatchable(m Mirror) {
	if name := m.Source.name; !m.Source.Any() && name != "localhost" && !strings.ContainsAny(name, ".:") {
		p.add(m.Line, "source %q: images name hosts with a dot or a port, and %q means docker.io/%s; write the whole host name", name, name+"/x", name+"/x")
		return
	}
	if !strings.HasSuffix(m.Source.name, "]") || !slices.ContainsFunc(m.Targets, Target.NeedsCredential) {
		return
	}
	p.add(m.Line, "source %q: the kubelet matches an IPv6 address only with a port, so it would never ask for this credential; add the port, here and in the images, or use a host name", m.Source)
}

// serveRegistries adds a mirror for each registry that has none: it serves itself,
// with its settings.
func (p *parser) serveRegistries() {
	for _, r := range p.registries {
		if _, ok := p.m.bySource[r.host.name]; ok {
			continue
		}
		own := Target{scheme: "https", host: Source(r.host).server(), self: true}
		if p.isPlain(r.host) {
			own.scheme = "http"
		}
		p.dress(&own, nil, r.line)
		p.oneSetting(&own, r.host)
		m := Mirror{Source: Source(r.host), Targets: []Target{own}, Line: r.line}
		p.checkMatchable(m)
		p.m.bySource[r.host.name] = len(p.m.Mirrors)
		p.m.Mirrors = append(p.m.Mirrors, m)
	}
}

// isPlain reports whether a mirror reaches the registry by http://.
func (p *parser) isPlain(h Host) bool {
	for _, m := range p.m.Mirrors {
		for _, t := range m.Targets {
			if t.scheme == "http" && (t.host == h || t.address() == h.name) {
				return true
			}
		}
	}
	return false
}

// oneSetting gives a registry that is named with prefixes only the settings
// that its tables agree on: containerd has one hosts.toml for the host.
func (p *parser) oneSetting(own *Target, h Host) {
	var said *registry
	for _, i := range p.tables(*own) {
		r := &p.registries[i]
		switch {
		case r.prefix == "":
			return
		case reflect.DeepEqual(r.settings, Settings{}):
		case said == nil:
			said = r
		case !reflect.DeepEqual(r.settings, said.settings):
			p.add(r.line, "registry %q has other settings than %q on line %d, but containerd keeps one set per host; write them once in [registry.%q]", r, said, said.line, h)
		}
	}
	if said != nil {
		own.Settings, own.lines = said.settings, said.lines
	}
}

// implyAzure declares the credential that ACR targets ask for unless the map
// says otherwise.
func (p *parser) implyAzure() {
	if _, ok := p.m.Credential(azureCredential); ok {
		return
	}
	for _, m := range p.m.Mirrors {
		if slices.ContainsFunc(m.Targets, Target.namesAzure) {
			p.m.Credentials = append(p.m.Credentials, Credential{Name: azureCredential, Kind: Azure, File: DefaultAzureConfig})
			return
		}
	}
}

// namesAzure reports whether any repository of the target has the credential "azure".
func (t Target) namesAzure() bool {
	return slices.Contains(t.Credentials, azureCredential) ||
		slices.ContainsFunc(t.Below, func(b PathCredential) bool { return slices.Contains(b.Credentials, azureCredential) })
}
