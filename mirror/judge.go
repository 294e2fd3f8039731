package mirror

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// judge adds a fault for each key that a map from the cluster may not have.
func (p *parser) judge(root *table) {
	p.judgeSecrets()
	if p.allowed == nil {
		return
	}
	eachKey(root, func(k key, v *value) {
		rule, known := rules[k.pattern]
		switch {
		case !known && len(p.list) == 0: // otherwise a fault says what is wrong with it
			p.add(v.line, "%s of %s cannot be used in a map from the cluster; remove it, or use a map of the node's own", k.shown(), k.table())
		case !known, rule.need == nothing || rule.or != "" && entry(v) == rule.or:
		case rule.need == byKind:
			p.judgeCredential(k, v)
		case rule.need == asCredential && isPublicACR(k.path[1]):
		case rule.need == ofKind:
			p.judgeKind(k, v, rule)
		default:
			p.judgeValue(k, v, rule)
		}
	})
	p.judgeCommands(root.find("credential"))
	p.judgePlainHTTP()
}

// judgeSecrets refuses secrets in the map itself, which all may read who may
// read the ConfigMap.
func (p *parser) judgeSecrets() {
	for _, s := range p.m.LiteralSecrets {
		if s.Certain {
			p.add(s.Line, "header %s has a secret in a map from the cluster, where others can read it; write { file = \"/etc/mirrorcred/%s.header\" } and put the value there on each node, with mode 0600", s.Header, strings.ToLower(s.Header))
		}
	}
}

// judgeValue compares a key with the list.
func (p *parser) judgeValue(k key, v *value, rule rule) {
	places := []string{k.place()}
	if rule.need == amongAny {
		places = append(places, anyRegistry+k.name)
	}
	var allowed []string // nil if the list does not have the key
	for _, place := range places {
		if found := p.allowed.find(place); found != nil {
			allowed = append(allowed, entries(found)...)
		}
	}
	switch rule.need {
	case among, amongAny:
		for _, one := range entries(v) {
			if !slices.Contains(allowed, one) {
				p.notAllowed(k, v.line, one)
			}
		}
	default:
		if allowed == nil || !slices.Equal(entries(v), allowed) {
			p.notAllowed(k, v.line, strings.Join(entries(v), " "))
		} else if rule.need == withTargets {
			p.judgeTargets(k)
		}
	}
}

// anyRegistry is the place of [registry."*"] in a list, without the key.
const anyRegistry = "registry\x00*\x00"

// notAllowed adds the fault of a value that is not in the list.
func (p *parser) notAllowed(k key, line int, text string) {
	what := k.shown()
	if k.name != "args" && k.path[len(k.path)-2] != "env" && isHarmless(text) {
		what += fmt.Sprintf(" %q", text)
	}
	p.add(line, "%s of %s is not allowed in a map from the cluster; write it in %s of %s on the node, or remove it here", what, k.table(), k.table(), p.allowed.file)
}

// judgeTargets checks that the list's mirror has all targets of a mirror that
// sends them a secret.
func (p *parser) judgeTargets(k key) {
	v := k.mirror.find("targets")
	if v == nil {
		return // another fault
	}
	allowed := targetNames(p.allowed.find(k.placeAt(k.path[1], "targets")))
	for _, one := range v.list {
		if !slices.Contains(allowed, targetName(one)) {
			p.add(one.line, "target %q of %s gets a secret by %s, and is not allowed in a map from the cluster; write it in the mirror's targets in %s on the node, or remove it here", one.text, k.table(), k.shown(), p.allowed.file)
		}
	}
}

func targetNames(v *value) []string {
	if v == nil {
		return nil
	}
	names := make([]string, len(v.list))
	for i, one := range v.list {
		names[i] = targetName(one)
	}
	return names
}

// targetName is equal for targets that mean the same.
func targetName(v *value) string {
	if t, err := ParseTarget(v.text); err == nil {
		return t.scheme + "://" + t.host.name + t.API()
	}
	return v.text
}

// judgeCredential checks which credential a registry is given. It is not enough that
// the credential itself is for other registries: a mirror that changes to a target with
// a credential does not drain, so such a target may see the previous one. A login
// server of ACR in a public cloud is Microsoft's, whoever owns the registry.
func (p *parser) judgeCredential(k key, v *value) {
	var allowed []string
	if found := p.allowed.find(k.place()); found != nil {
		allowed = entries(found)
	}
	for i, name := range entries(v) {
		c, isKnown := p.m.Credential(name)
		isAzure := name == azureCredential || c.Kind == Azure
		switch {
		case !isKnown && !isAzure: // "anonymous", or another fault
		case isAzure && isPublicACR(k.path[1]):
		case !slices.Contains(allowed, name):
			p.notAllowed(k, lineOf(v, i), name)
		}
	}
}

// lineOf returns the line of an entry of a value.
func lineOf(v *value, entry int) int {
	if v.kind == unstable.Array {
		return v.list[entry].line
	}
	return v.line
}

func isPublicACR(registry string) bool {
	r, err := parseRegistry(registry)
	_, is := r.host.ACRSuffix()
	return err == nil && is
}

// judgeKind checks the kind of a credential that is given to a registry by its name:
// what was allowed as the answer of a program is not allowed as a pod's own token.
func (p *parser) judgeKind(k key, v *value, rule rule) {
	if kind := Kind(v.text); kind == Exec || kind == PodToken || kind == PullSecret {
		p.judgeValue(k, v, rule)
	}
}

// judgeCommands refuses an allowed command without the arguments, the environment
// or the pod's token that it is allowed with.
func (p *parser) judgeCommands(all *value) {
	if all == nil || all.table == nil {
		return
	}
	for i, name := range all.table.keys {
		t := all.table.list[i].table
		if t == nil || t.find("command") == nil {
			continue
		}
		prefix := "credential\x00" + name + "\x00"
		for _, place := range slices.Sorted(maps.Keys(p.allowed.values)) {
			key, is := strings.CutPrefix(place, prefix)
			variable, isVariable := strings.CutPrefix(key, "env\x00")
			env := t.find("env")
			switch {
			case !is:
			case (key == "args" || key == "audience") && t.find(key) == nil,
				isVariable && (env == nil || env.table == nil || env.table.find(variable) == nil):
				p.add(t.line, "[credential.%s] has no %s, without which the node does not allow its command; copy it from %s", name, strings.ReplaceAll(key, "\x00", "."), p.allowed.file)
			}
		}
	}
}

// judgePlainHTTP refuses to send a credential or a secret header unencrypted.
func (p *parser) judgePlainHTTP() {
	for _, m := range p.m.Mirrors {
		for _, t := range m.Targets {
			if t.scheme != "http" || !t.NeedsCredential() && !slices.ContainsFunc(t.Settings.Header, func(h Header) bool { return h.File != "" }) {
				continue
			}
			allowed := targetNames(p.allowed.find("mirror\x00" + m.Source.name + "\x00targets"))
			if !slices.Contains(allowed, t.scheme+"://"+t.host.name+t.API()) {
				p.add(m.Line, "target %q of the mirror of %q gets a credential unencrypted, which is not allowed in a map from the cluster; write https://, or write the mirror with this target in %s on the node", t, m.Source, p.allowed.file)
			}
		}
	}
}
