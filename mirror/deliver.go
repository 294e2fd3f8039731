package mirror

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// authorization is the header that a delivered credential becomes.
const authorization = "Authorization"

// DeliveryRenewal is how often a credential that is in hosts.toml is fetched again if
// it names no end.
const DeliveryRenewal = time.Hour

// Delivers reports whether the map has a credential that is in hosts.toml.
func (m *Map) Delivers() bool {
	return slices.ContainsFunc(m.Mirrors, func(one Mirror) bool {
		return slices.ContainsFunc(one.Targets, func(t Target) bool {
			_, delivers := t.Delivery()
			return delivers
		})
	})
}

// deliveryKey names one credential of one registry where it is handed over as a header
// (cmd/internal/deliver/handover). It depends on all that the header may depend on, so
// that the value of another registry, or of an earlier definition, is never taken for
// this one's.
func deliveryKey(t Target, c Credential) string {
	of := struct {
		Scheme, Host, Base, Prefix, TokenHost string
		Credential                            Credential
	}{t.scheme, t.host.name, t.base, t.prefix, t.TokenHost, c}
	if c.Kind == Azure {
		of.Prefix = "" // the credential is that of the login server
	}
	data, err := json.Marshal(of)
	if err != nil {
		panic(err) // strings and bools
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Delivery returns the delivery key of a target whose credential is in
// hosts.toml, and false for any other target.
func (t Target) Delivery() (key string, ok bool) {
	for _, h := range t.Settings.Header {
		if h.Delivered != "" {
			return h.Delivered, true
		}
	}
	return "", false
}

// delivery reads how a registry's credential gets to containerd.
func (r *reader) delivery() (hosts bool, tokenHost string) {
	const ways = "write \"kubelet\" to have the plugin return the credential, or \"hosts\" to write it into hosts.toml"
	switch v := r.get("deliver"); {
	case v == nil:
	case v.kind != unstable.String:
		r.add(v.line, "deliver of %s is %s; %s", r.what, v.what(), ways)
	case v.text == "hosts":
		hosts = true
	case v.text != "kubelet":
		r.add(v.line, "deliver of %s is %q; %s", r.what, v.text, ways)
	}
	name := r.text("token_host")
	if name == "" {
		return hosts, ""
	}
	host, err := ParseHost(name)
	switch {
	case r.find("deliver") == nil || r.find("deliver").text == "kubelet":
		r.add(r.at("token_host"), "token_host of %s is for deliver = \"hosts\" only; add that, or remove token_host", r.what)
	case err != nil:
		r.add(r.at("token_host"), "token_host of %s: %v", r.what, err)
	}
	return hosts, host.withoutPort("443").name
}

// deliver gives the targets whose credential is delivered by hosts.toml their header,
// and refuses what a header cannot express. declared is how many mirrors the
// mirror tables made; the others serve themselves.
func (p *parser) deliver(declared int) {
	if !slices.ContainsFunc(p.registries, func(r registry) bool { return r.hosts }) {
		return
	}
	for _, r := range p.registries {
		if r.hosts {
			p.checkDelivered(r)
		}
	}
	seen := map[int]bool{} // lines with a fault that other mirrors have too
	for i := range p.m.Mirrors {
		m := &p.m.Mirrors[i]
		for j := range m.Targets {
			t := &m.Targets[j]
			p.checkBelow(t, i >= declared, seen)
			if t.DeliverHosts {
				p.deliverTo(m, t, p.headers[i], seen)
			}
		}
	}
}

// checkDelivered refuses a registry whose credential cannot be a header.
func (p *parser) checkDelivered(r registry) {
	line := r.lines["deliver"]
	switch n := len(r.credentials); {
	case r.isUnread:
	case n == 0:
		p.add(line, "registry %q: deliver = \"hosts\" has no credential to deliver; name one with credential = \"NAME\", or remove deliver", r)
	case n == 1:
		name := r.credentials[0]
		if c, ok := p.m.Credential(name); ok && (c.Kind == PodToken || c.Token != nil) {
			p.add(line, "registry %q: credential %q belongs to a pod, and hosts.toml is read for all pods; remove deliver, or name a credential of the node", r, name)
		}
	default:
		p.add(line, "registry %q: deliver = \"hosts\" writes one header, and cannot try %d credentials in turn; name one, or remove deliver", r, n)
	}
	if hasAuthorization(r.settings.Header) {
		p.add(r.lines["header"], "registry %q has a header %s, and deliver = \"hosts\" writes one too; remove one of them", r, authorization)
	}
	if p.m.Kubelet.Stock {
		p.add(line, "registry %q: with %s no route says that deliver = \"hosts\" leaves the kubelet without a credential; remove deliver, or %s", r, Stock, useOwnPlugin)
	}
}

func hasAuthorization(list []Header) bool {
	return slices.ContainsFunc(list, func(h Header) bool { return h.Name == authorization })
}

// deliverTo is [parser.deliver] for one target of a mirror with headers of its own.
func (p *parser) deliverTo(m *Mirror, t *Target, headers []Header, seen map[int]bool) {
	line := t.Line("deliver")
	if t.scheme == "http" && !seen[line] {
		seen[line] = true
		p.add(line, "deliver = \"hosts\": target %q of the mirror of %q is plain http, so anybody on the network could read the credential; write https://, or remove deliver", t, m.Source)
	}
	if hasAuthorization(headers) {
		p.add(m.Line, "mirror of %q: header %s would replace the credential that deliver = \"hosts\" writes for %q; remove one of them", m.Source, authorization, t)
	}
	if len(t.Credentials) != 1 {
		return
	}
	if c, ok := p.m.Credential(t.Credentials[0]); ok && !hasAuthorization(t.Settings.Header) {
		t.Settings = t.Settings.with([]Header{{Name: authorization, Delivered: deliveryKey(*t, c)}})
	}
}

// checkBelow refuses tables for repositories below a target's prefix that want another
// header than the target: one table of hosts.toml has one. A registry that serves
// itself without a credential is not what such a table is for: it is for the mirrors
// with that prefix.
func (p *parser) checkBelow(t *Target, isImplied bool, seen map[int]bool) {
	for _, i := range p.tables(*t) {
		r := p.registries[i]
		if isBelow(t.prefix, r.prefix) || !isBelow(r.prefix, t.prefix) || !r.hosts && !t.DeliverHosts || r.isUnclear || p.tableOf(*t).isUnclear {
			continue
		}
		isSame := r.hosts && t.DeliverHosts && slices.Equal(r.credentials, t.Credentials) && r.tokenHost == t.TokenHost
		if !isSame && !(isImplied && len(t.Credentials) == 0) && !seen[r.line] {
			seen[r.line] = true
			p.add(r.line, "registry %q is below target %q, and with deliver = \"hosts\" both have one header in hosts.toml; give both the same credential, deliver and token_host, or remove this table", r, t)
		}
		t.Below = slices.DeleteFunc(t.Below, func(b PathCredential) bool { return b.Prefix == r.prefix })
	}
}

// DeliveryKeys returns the delivery keys of all targets.
func (m *Map) DeliveryKeys() map[string]bool {
	keys := map[string]bool{}
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			if key, ok := t.Delivery(); ok {
				keys[key] = true
			}
		}
	}
	return keys
}

// Retarget returns a copy of the map in which each mirror has the targets that change
// returns for it.
func (m *Map) Retarget(change func(Mirror) []Target) *Map {
	other := *m
	other.Mirrors = slices.Clone(m.Mirrors)
	for i, one := range m.Mirrors {
		other.Mirrors[i].Targets = change(one)
	}
	return &other
}

// Delivers reports whether the credential of any target is in hosts.toml.
func (m Mirror) Delivers() bool {
	return slices.ContainsFunc(m.Targets, func(t Target) bool { return t.DeliverHosts })
}
