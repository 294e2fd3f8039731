package mirror

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A registry is a [registry] table.
type registry struct {
	host   Host   // as a source has it: the port as written, docker.io and not registry-1.docker.io
	prefix string // of the repository, or ""
	// listed are its credentials as the table has them, nil if it has none, and
	// credentials those that it gets.
	listed      []*value
	credentials []string // as in [Target]
	anonymous   bool     // the table says so
	hosts       bool     // the credential is delivered by hosts.toml
	tokenHost   string   // see [Target.TokenHost]
	// isUnclear says that a fault leaves open how the credential is delivered, and
	// isUnread that one leaves open which it is.
	isUnclear, isUnread bool
	settings            Settings
	line                int
	lines               map[string]int // of the settings, by their keys
}

func (r registry) String() string {
	return strings.TrimSuffix(r.host.name+"/"+r.prefix, "/")
}

// key is equal for tables of one registry and prefix.
func (r registry) key() string {
	return r.host.withoutPort("443").name + "/" + r.prefix
}

func (p *parser) registriesOf(t *table) {
	p.byHost = map[string][]int{}
	if t == nil {
		return
	}
	seen := map[string]int{}
	for _, name := range t.keys {
		v := t.find(name)
		if v.kind != unstable.InlineTable {
			p.add(v.line, "registry %q is not a table; write [registry.%q], with quotes", name, name)
			continue
		}
		entry, err := parseRegistry(name)
		if err != nil {
			p.add(v.line, "registry %q: %v", name, err)
			continue
		}
		entry.line = v.line
		if line := seen[entry.key()]; line > 0 {
			p.add(v.line, "registry %q is already on line %d; join the two", entry, line)
			continue
		}
		seen[entry.key()] = v.line
		r := p.reader(v.table, fmt.Sprintf("[registry.%q]", name))
		before := len(p.list)
		entry.listed, entry.anonymous = r.credentials()
		entry.isUnread = len(p.list) > before
		before = len(p.list)
		entry.hosts, entry.tokenHost = r.delivery()
		entry.isUnclear = len(p.list) > before && !entry.hosts
		entry.settings = r.settings(&p.m.LiteralSecrets)
		entry.lines = r.lines()
		r.rest(registryHints(name, v.table))
		entry.isUnread = entry.isUnread || slices.Contains(r.meant, "credential")
		entry.isUnclear = entry.isUnclear || slices.Contains(r.meant, "deliver")
		if isSplit(v.table) {
			continue // the name is only a part of the one that was meant
		}
		p.byHost[entry.host.name] = append(p.byHost[entry.host.name], len(p.registries))
		p.registries = append(p.registries, entry)
	}
}

func registryHints(name string, t *table) map[string]string {
	hints := map[string]string{
		"auth":          "name a [credential.NAME] with credential = \"NAME\"",
		"username":      "name a [credential.NAME] with credential = \"NAME\"",
		"password":      "name a [credential.NAME] with credential = \"NAME\"; the map holds no secrets",
		"override_path": "mirrorcred writes it if a target has a path; put the path into the target",
	}
	for _, key := range t.keys {
		switch {
		case t.find(key).kind != unstable.InlineTable:
		case name == "configs" || name == "mirrors":
			hints[key] = fmt.Sprintf("that is another program's table; write [registry.%q], and a [[mirror]] for each mirror", key)
		case key == "tls":
			hints[key] = fmt.Sprintf("write ca, client and skip_verify in [registry.%q]", name)
		case key != "auth":
			hints[key] = fmt.Sprintf("TOML splits a name at its dots; write [registry.\"%s.%s\"] with quotes", name, key)
		}
	}
	return hints
}

// isSplit reports whether TOML made the table of a part of a name: it has nothing
// but tables in it, none of them a registry's.
func isSplit(t *table) bool {
	return len(t.keys) > 0 && !slices.ContainsFunc(t.keys, func(key string) bool {
		return key == "header" || t.find(key).kind != unstable.InlineTable
	})
}

func parseRegistry(name string) (registry, error) {
	if err := errMore("a registry", name); err != nil {
		return registry{}, err
	}
	if scheme, rest, ok := strings.Cut(name, "://"); ok {
		return registry{}, schemeError(scheme, rest)
	}
	hostname, prefix, _ := strings.Cut(name, "/")
	host, err := ParseHost(hostname)
	if err != nil {
		return registry{}, err
	}
	switch host.name {
	case dockerHubAlias:
		host.name = dockerHub
	case dockerHubAlias + ":443":
		host.name = dockerHub + ":443"
	}
	prefix = strings.TrimSuffix(prefix, "/")
	named := registry{host: host, prefix: prefix}
	if prefix == "" {
		return named, nil
	}
	err = CheckRepository(prefix)
	// As the rules of other registries' caches are written.
	if short, ok := strings.CutSuffix(prefix, "*"); ok && err != nil {
		short = strings.TrimSuffix(short, "/")
		if short == "" || CheckRepository(short) == nil {
			return named, fmt.Errorf("a prefix needs no wildcard; write %q", registry{host: host, prefix: short})
		}
	}
	return named, err
}

// schemeError says what to write instead of a registry's name with a scheme. The
// name alone means https, so plain http needs a mirror of the host.
func schemeError(scheme, rest string) error {
	named, err := parseRegistry(rest)
	switch {
	case err != nil:
		return errors.New("a registry is named without a scheme; write its host and port")
	case strings.EqualFold(scheme, "http"):
		return fmt.Errorf("a registry is named without a scheme and reached by https; for http, write [[mirror]] with source = %q and targets = [%q], and the settings under [registry.%q]", named.host, "http://"+named.host.name, named)
	}
	return fmt.Errorf("a registry is named without a scheme; write %q", named)
}

// mostCredentials is how many credentials a registry may have: the plugin gets
// each of them for each pull.
const mostCredentials = 16

// credentials returns the credentials of a registry in their order, and whether
// the table says that it needs none.
func (r *reader) credentials() (list []*value, anonymous bool) {
	if v := r.find("credential"); v == nil || v.kind != unstable.Array {
		if r.text("credential") != "" {
			list = []*value{v}
		}
	} else {
		list = r.texts("credential", false)
		if len(v.list) == 0 {
			r.add(v.line, "credential of %s is an empty list; name a [credential.NAME] in it, or write \"anonymous\"", r.what)
		}
	}
	if len(list) > mostCredentials {
		r.add(list[mostCredentials].line, "credential of %s has %d entries; write %d at most", r.what, len(list), mostCredentials)
		return nil, true
	}
	for i, v := range list {
		if slices.Contains(texts(list[:i]), v.text) {
			r.add(v.line, "credential of %s has %q twice; remove one of them", r.what, v.text)
		} else if v.text == Anonymous && i < len(list)-1 {
			r.add(v.line, "credential of %s goes on after \"anonymous\"; put \"anonymous\" last", r.what)
		}
	}
	if len(list) == 1 && list[0].text == Anonymous {
		return nil, true
	}
	return list, false
}
