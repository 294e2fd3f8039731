package mirror

import (
	"slices"
	"strings"
)

// Stock is the name of the plugin of kubernetes-sigs/cloud-provider-azure. The
// map can drive it instead of mirrorcred's plugin: its mirrors are an argument
// in the kubelet's configuration.
const Stock = "acr-credential-provider"

// Mapping returns the login server whose credential [Stock] must return for the
// mirror's source. It returns false if that plugin needs no mapping: no target
// has a credential, or the source itself is the login server. Repositories are
// not part of a mapping, because that plugin asks a registry for a token, and a
// new prefix must not need a restart of the kubelet.
func (m Mirror) Mapping() (Host, bool) {
	for _, t := range m.Targets {
		if t.NeedsCredential() && !t.self {
			return t.host, true
		}
	}
	return Host{}, false
}

// maxArgument is how long one argument of a program may be, its NUL included
// (Linux, MAX_ARG_STRLEN).
const maxArgument = 128 << 10

// useOwnPlugin ends the faults of a map that needs mirrorcred's plugin.
const useOwnPlugin = "use mirrorcred's own plugin (remove plugin under [kubelet])"

// checkStock refuses what [Stock] cannot do, or would do wrong
// (kubernetes-sigs/cloud-provider-azure, pkg/credentialprovider/azure_credentials.go).
func (p *parser) checkStock() {
	if !p.m.Kubelet.Stock {
		return
	}
	p.checkStockCredentials()
	for _, r := range p.registries {
		if len(r.credentials) > 1 {
			p.add(r.lines["credential"], "[registry.%q]: %s has one credential for a registry; keep one, or %s", r, Stock, useOwnPlugin)
		}
	}
	sources := map[string]Mirror{} // that it is told
	length := len("--registry-mirror=")
	for _, m := range p.m.Mirrors {
		p.checkStockMirror(m)
		if target, ok := m.Mapping(); ok {
			sources[m.Source.name] = m
			length += len(m.Source.name) + len(":") + len(target.name) + len(",")
		}
	}
	for _, m := range p.m.Mirrors {
		p.checkStockPrefix(m, sources)
	}
	if length > maxArgument {
		p.add(p.pluginLine, "plugin %q: the mirrors are one argument, which Linux limits to %d bytes, and need %d; %s", Stock, maxArgument, length, useOwnPlugin)
	}
}

// checkStockCredentials refuses credentials that azure.json cannot hold.
func (p *parser) checkStockCredentials() {
	var first Credential
	for _, c := range p.m.Credentials {
		line := p.credentialLines[c.Name]
		switch {
		case c.Kind != Azure:
			p.add(line, "[credential.%s]: %s knows Azure identities only; remove it, or %s", c.Name, Stock, useOwnPlugin)
		case c.Token != nil:
			p.add(line, "[credential.%s]: %s pulls from a mirror as the node, never as a pod; remove audience and identity_binding, or %s", c.Name, Stock, useOwnPlugin)
		case first.Name == "":
			first = c
		case c.File != first.File:
			if line == 0 { // the implied one comes last
				line = p.credentialLines[first.Name]
			}
			p.add(line, "[credential.%s]: %s reads one azure.json, %q, and not also %q; name one of them, or %s", c.Name, Stock, first.File, c.File, useOwnPlugin)
		}
	}
}

func (p *parser) checkStockMirror(m Mirror) {
	refuse := func(text string, args ...any) {
		p.add(m.Line, "mirror of %q: "+text, append([]any{m.Source}, args...)...)
	}
	asks := slices.ContainsFunc(m.Targets, Target.NeedsCredential)
	elsewhere := slices.ContainsFunc(m.Targets, func(t Target) bool { return !t.self })
	_, mapped := m.Mapping()
	_, acr := m.Source.Host().ACRSuffix()
	switch {
	case m.Source.Any() && elsewhere:
		refuse("%s does not know \"*\", and would return the credential of each ACR registry, which containerd would offer to %q; write one mirror for each source, or %s", Stock, m.Targets[0], useOwnPlugin)
	case acr && elsewhere && !asks:
		refuse("%s returns the credential of the source itself, an ACR registry, which containerd would offer to %q; name an ACR target, or %s", Stock, m.Targets[0], useOwnPlugin)
	case !asks:
		return
	case len(m.Targets) > 1:
		refuse("%s returns one credential for all targets; keep one target, or %s", Stock, useOwnPlugin)
	case mapped && strings.Contains(m.Source.name, ":"):
		refuse("%s skips a source with a port; name one without a port, or %s", Stock, useOwnPlugin)
	}
	if m.Ready > 0 && mapped {
		refuse("%s returns the credential of %q as soon as the kubelet knows of it, and containerd would offer it to the source until the mirror is ready; remove ready, or %s", Stock, m.Targets[0], useOwnPlugin)
	}
	for _, t := range m.Targets {
		if t.scheme != "https" && t.NeedsCredential() {
			refuse("%s asks %q by https only; write https://, or %s", Stock, t, useOwnPlugin)
		}
		if slices.ContainsFunc(t.Below, func(b PathCredential) bool { return !slices.Equal(b.Credentials, t.Credentials) }) {
			refuse("%s has one credential for the whole of %q; remove the other credentials below it, or %s", Stock, t.host, useOwnPlugin)
		}
	}
}

// checkStockPrefix refuses a source that begins with another one: which of the
// two an image gets is then a matter of chance, since neither the order nor the
// end of a name counts.
func (p *parser) checkStockPrefix(m Mirror, sources map[string]Mirror) {
	if !slices.ContainsFunc(m.Targets, Target.NeedsCredential) {
		return
	}
	for i := range len(m.Source.name) {
		if other, ok := sources[m.Source.name[:i]]; ok {
			p.add(m.Line, "mirror of %q: %s sometimes confuses it with %q on line %d, with which its name begins; remove one of them, or %s", m.Source, Stock, other.Source, other.Line, useOwnPlugin)
		}
	}
}
