package mirror

import (
	"slices"
	"strings"
)

// Stock is the name of the plugin of kubernetes-sigs/cloud-provider-azure,
// which can be driven in the place of ours: its mirrors are an argument in the
// kubelet's configuration.
const Stock = "acr-credential-provider"

// Mapping returns the login server whose credential [Stock] has to be told to
// answer for the mirror's source, and false where there is nothing to tell it:
// no target asks for a credential, or the source itself is the login server.
// Repositories are not part of it: that plugin asks a registry for a token, and
// a mirror whose prefix changes shall not need another kubelet.
func (m Mirror) Mapping() (Host, bool) {
	for _, t := range m.Targets {
		if t.asksCredential() && !t.self {
			return t.host, true
		}
	}
	return Host{}, false
}

// maxArgument is how long one argument of a program may be, its NUL included
// (Linux, MAX_ARG_STRLEN).
const maxArgument = 128 << 10

// ours ends the faults of a map that needs our own plugin.
const ours = "leave plugin under [kubelet] out, for mirrorcred's own plugin can"

// checkStock refuses what [Stock] cannot do, or would do wrong
// (kubernetes-sigs/cloud-provider-azure, pkg/credentialprovider/azure_credentials.go).
func (p *parser) checkStock() {
	if !p.m.Kubelet.Stock {
		return
	}
	p.checkStockCredentials()
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
		p.add(p.pluginLine, "plugin %q: the mirrors are one argument of it, which Linux allows %d bytes, and need %d; %s", Stock, maxArgument, length, ours)
	}
}

// checkStockCredentials refuses credentials that azure.json does not say.
func (p *parser) checkStockCredentials() {
	var first Credential
	for _, c := range p.m.Credentials {
		line := p.credentialLines[c.Name]
		switch {
		case c.Kind != Azure:
			p.add(line, "[credential.%s]: %s knows Azure identities alone; take it out, or %s", c.Name, Stock, ours)
		case c.Token != nil:
			p.add(line, "[credential.%s]: %s answers for a mirror as the node, never as a pod, and its own entry in the kubelet's configuration says which tokens it is handed; leave audience and identity_binding out, or %s", c.Name, Stock, ours)
		case first.Name == "":
			first = c
		case c.File != first.File:
			if line == 0 { // the implied one comes last
				line = p.credentialLines[first.Name]
			}
			p.add(line, "[credential.%s]: %s reads one azure.json, %q, and not %q too; write one of them, or %s", c.Name, Stock, first.File, c.File, ours)
		}
	}
}

func (p *parser) checkStockMirror(m Mirror) {
	refuse := func(text string, args ...any) {
		p.add(m.Line, "mirror of %q: "+text, append([]any{m.Source}, args...)...)
	}
	asks := slices.ContainsFunc(m.Targets, Target.asksCredential)
	elsewhere := slices.ContainsFunc(m.Targets, func(t Target) bool { return !t.self })
	_, mapped := m.Mapping()
	_, acr := m.Source.Host().ACRSuffix()
	switch {
	case m.Source.Any() && elsewhere:
		refuse("%s takes \"*\" for a name, and answers for each ACR registry with that registry's own credential, which containerd would offer to %q; name the sources one by one, or %s", Stock, m.Targets[0], ours)
	case acr && elsewhere && !asks:
		refuse("%s answers with the credential of the source itself, an ACR registry, which containerd would offer to %q; name an ACR target, or %s", Stock, m.Targets[0], ours)
	case !asks:
		return
	case len(m.Targets) > 1:
		refuse("%s answers one credential for a source, and never that a pull goes without one, as another target may need it; keep one target, or %s", Stock, ours)
	case mapped && strings.Contains(m.Source.name, ":"):
		refuse("%s splits its mirrors at each colon, and skips a source with a port; name one without a port, or %s", Stock, ours)
	}
	for _, t := range m.Targets {
		if t.scheme != "https" && t.asksCredential() {
			refuse("%s asks %q by https alone; write https://, or %s", Stock, t, ours)
		}
		if slices.ContainsFunc(t.Below, func(b PathCredential) bool { return b.Credential != t.Credential }) {
			refuse("%s has one credential for the whole of %q; give the repositories below it no other, or %s", Stock, t.host, ours)
		}
	}
}

// checkStockPrefix refuses a source that begins with another one: which of the
// two is taken for an image is a matter of chance then, since neither the order
// nor the end of a name counts.
func (p *parser) checkStockPrefix(m Mirror, sources map[string]Mirror) {
	if !slices.ContainsFunc(m.Targets, Target.asksCredential) {
		return
	}
	for i := range len(m.Source.name) {
		if other, ok := sources[m.Source.name[:i]]; ok {
			p.add(m.Line, "mirror of %q: %s now and then takes it for %q on line %d, with which its name begins; take one of them out, or %s", m.Source, Stock, other.Source, other.Line, ours)
		}
	}
}
