package mirror

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"
)

// join gives each target the settings and the credential of its registry,
// serves the other registries as themselves, and refuses contradictions.
func (p *parser) join() {
	for i, r := range p.registries {
		p.registries[i].credential = p.credentialName(r)
	}
	for i := range p.m.Mirrors {
		m := &p.m.Mirrors[i]
		for j := range m.Targets {
			p.dress(&m.Targets[j], p.headers[i], m.Line)
		}
		p.checkShared(*m)
		p.checkMatchable(*m)
	}
	p.serveRegistries()
	p.implyAzure()
	p.checkStock()
}

// credentialName returns the name of the credential that a registry asks for,
// "" for anonymous.
func (p *parser) credentialName(r registry) string {
	_, acr := r.host.ACRSuffix()
	switch name := r.credential; name {
	case "anonymous":
		return ""
	case "":
		if acr {
			return azureCredential
		}
		return ""
	default:
		c, ok := p.m.Credential(name)
		switch {
		case !ok && name == azureCredential:
			c.Kind = Azure // implied
		case !ok:
			p.add(r.line, "registry %q: there is no [credential.%s]; %s", r, name, p.otherCredentials(name))
		}
		if c.Kind == Azure && !acr && !r.host.mayBePrivateACR() {
			p.add(r.line, "registry %q: credential %q is of kind \"azure\", and %q is no ACR login server (NAME.azurecr.io); name another credential", r, name, r.host)
		}
		return name
	}
}

func (p *parser) otherCredentials(name string) string {
	var names []string
	for _, c := range p.m.Credentials {
		names = append(names, c.Name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("write %q", near)
	}
	return "write that table, or \"anonymous\""
}

// dress sets what a target has from its registry: the table with the longest
// prefix of the target. Tables below the target's prefix say the credentials
// of some of its repositories.
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
			t.Below = append(t.Below, PathCredential{r.prefix, r.credential})
		}
	}
	slices.SortFunc(t.Below, func(a, b PathCredential) int {
		return cmp.Or(cmp.Compare(len(b.Prefix), len(a.Prefix)), cmp.Compare(a.Prefix, b.Prefix))
	})
	switch {
	case best != nil:
		t.Settings, t.Credential = best.settings, best.credential
		line = best.line
	case t.scheme == "https":
		if _, acr := t.host.ACRSuffix(); acr {
			t.Credential = azureCredential
		}
	}
	if key := t.Settings.forbidden(); key != "" && t.scheme == "http" {
		p.add(line, "%s: target %q is plain http, and with this setting containerd would try https first; leave it out or write https://", key, t)
	}
	t.Settings = t.Settings.with(headers)
}

// tables returns the indices of the [registry] tables of a target's host.
func (p *parser) tables(t Target) []int {
	names := []string{t.host.name, t.address()}
	if t.host.name == dockerHubServer {
		names = append(names, dockerHub)
	}
	var list []int
	for _, name := range slices.Compact(names) {
		list = append(list, p.byHost[name]...)
	}
	return list
}

// isBelow reports whether a repository is prefix or below it.
func isBelow(repository, prefix string) bool {
	rest, ok := strings.CutPrefix(repository, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// checkShared refuses a mirror that has containerd offer a credential to a
// registry that it does not belong to: containerd offers the credential of a
// pull to every host in the list that asks for one.
func (p *parser) checkShared(m Mirror) {
	if m.ShareCredential || len(m.Targets) < 2 {
		return
	}
	owner := slices.IndexFunc(m.Targets, Target.asksCredential)
	if owner < 0 {
		return
	}
	other := m.Targets[0]
	if owner == 0 {
		other = m.Targets[1]
	}
	if i := slices.IndexFunc(m.Targets, Target.Self); i >= 0 && i != owner {
		p.add(m.Line, "mirror of %q: the source itself is among the targets and containerd would offer it the credential of %q; write share_credential = true if it may have it, or take the source out of targets", m.Source, m.Targets[owner])
		return
	}
	p.add(m.Line, "mirror of %q: containerd would offer the credential of %q to %q too; write share_credential = true if it may have it, or keep one target", m.Source, m.Targets[owner], other)
}

func (t Target) asksCredential() bool {
	return t.Credential != "" || slices.ContainsFunc(t.Below, func(b PathCredential) bool { return b.Credential != "" })
}

// checkMatchable refuses a source that no image can name, and one that asks for
// a credential and that no matchImages pattern of the kubelet can name.
func (p *parser) checkMatchable(m Mirror) {
	if name := m.Source.name; !m.Source.Any() && name != "localhost" && !strings.ContainsAny(name, ".:") {
		p.add(m.Line, "source %q: an image names no host without a dot or a port, %q is docker.io/%s; write the whole host name", name, name+"/x", name+"/x")
		return
	}
	if !strings.HasSuffix(m.Source.name, "]") || !slices.ContainsFunc(m.Targets, Target.asksCredential) {
		return
	}
	p.add(m.Line, "source %q: the kubelet matches no IPv6 address without a port and would never ask for its credential; use a host name or a port other than 443", m.Source)
}

// serveRegistries adds a mirror for each registry that is no mirror's source:
// the registry itself, with its settings.
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
	for _, i := range p.byHost[h.name] {
		r := &p.registries[i]
		switch {
		case r.prefix == "":
			return
		case reflect.DeepEqual(r.settings, Settings{}):
		case said == nil:
			said = r
		case !reflect.DeepEqual(r.settings, said.settings):
			p.add(r.line, "registry %q has other settings than %q on line %d, and containerd keeps one set for a host; say them once in [registry.%q]", r, said, said.line, h)
		}
	}
	if said != nil {
		own.Settings = said.settings
	}
}

// implyAzure declares the credential that ACR targets ask for unless the map
// says otherwise.
func (p *parser) implyAzure() {
	if _, ok := p.m.Credential(azureCredential); ok {
		return
	}
	for _, m := range p.m.Mirrors {
		if slices.Contains(m.CredentialNames(), azureCredential) {
			p.m.Credentials = append(p.m.Credentials, Credential{Name: azureCredential, Kind: Azure, File: DefaultAzureConfig})
			return
		}
	}
}

// checkPattern refuses a matchImages pattern that keeps the kubelet from
// starting or that never matches (k8s.io/kubernetes v1.36.3,
// pkg/credentialprovider/keyring.go, URLsMatchStr).
func checkPattern(s string) error {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return fmt.Errorf("the kubelet matches no scheme; write %q", rest)
	}
	host, repository, hasPath := strings.Cut(s, "/")
	if hasPath && strings.ContainsAny(repository, "*?[") {
		return fmt.Errorf("the kubelet knows no wildcard in a path; write %q", host+"/"+strings.TrimRight(repository, "*?[/"))
	}
	hostname, port, err := splitPort(host)
	if err != nil {
		return err
	}
	if strings.HasPrefix(hostname, "[") && port == "" {
		return errors.New("the kubelet matches no IPv6 address without a port; add the port")
	}
	if strings.HasPrefix(hostname, "[") {
		_, err := parseHostname(hostname)
		return err
	}
	for label := range strings.SplitSeq(hostname, ".") {
		if _, err := path.Match(label, ""); err != nil || label == "" || strings.ContainsAny(label, "?[\\ ") {
			return fmt.Errorf("label %q: write letters, digits, hyphens and \"*\"", label)
		}
		if err := checkLabelGrammar(strings.ReplaceAll(label, "*", "x")); err != nil {
			return err
		}
	}
	return nil
}
