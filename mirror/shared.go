package mirror

import (
	"fmt"
	"slices"
)

// checkShared refuses a mirror with which containerd would offer a credential to
// a registry that it does not belong to: containerd offers the credential of a
// pull to every host in the list that asks for one.
func (p *parser) checkShared(m Mirror) {
	if m.ShareCredential || len(m.Targets) < 2 {
		return
	}
	// If a fault leaves open how the credential is delivered, it may be the cause.
	owner := slices.IndexFunc(m.Targets, func(t Target) bool { return t.NeedsCredential() && !p.tableOf(t).isUnclear })
	if owner < 0 {
		return
	}
	other := m.Targets[0]
	if owner == 0 {
		other = m.Targets[1]
	}
	of := m.Targets[owner]
	if i := slices.IndexFunc(m.Targets, Target.Self); i >= 0 && i != owner {
		p.add(m.Line, "mirror of %q: the source itself is among the targets, and containerd would offer it the credential of %q; write %sshare_credential = true if it may have it, or remove the source from targets", m.Source, of, p.orDeliver(of))
		return
	}
	p.add(m.Line, "mirror of %q: containerd would offer the credential of %q to %q too; write %sshare_credential = true if it may have it, or keep one target", m.Source, of, other, p.orDeliver(of))
}

// orDeliver says how to keep a target's credential at its host, "" if hosts.toml cannot
// have it.
func (p *parser) orDeliver(t Target) string {
	if t.scheme != "https" || len(t.Credentials) != 1 || len(t.Below) > 0 || p.m.Kubelet.Stock || hasAuthorization(t.Settings.Header) {
		return ""
	}
	// A registry of Azure takes an identity's token at its token service only.
	c, ok := p.m.Credential(t.Credentials[0])
	if !ok || c.Kind == Azure || c.Kind == PodToken || c.Token != nil {
		return ""
	}
	return fmt.Sprintf("deliver = \"hosts\" under [registry.%q] to keep the credential at its host, ", p.tableOf(t))
}

// tableOf returns the table that a target has its credential from: the one with the
// longest prefix of the target. Without any, it is the zero registry.
func (p *parser) tableOf(t Target) registry {
	var best registry
	for _, i := range p.tables(t) {
		if r := p.registries[i]; isBelow(t.prefix, r.prefix) && (best.line == 0 || len(r.prefix) > len(best.prefix)) {
			best = r
		}
	}
	return best
}
