package mirror

import (
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A registry is a [registry] table.
type registry struct {
	host       Host   // as a source has it: docker.io, not registry-1.docker.io
	prefix     string // of the repository, or ""
	credential string // "" where the table does not say
	settings   Settings
	line       int
}

func (r registry) String() string {
	return strings.TrimSuffix(r.host.name+"/"+r.prefix, "/")
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
			p.add(v.line, "registry %q is not a table; write [registry.%q] and quote the host", name, name)
			continue
		}
		entry, err := parseRegistry(name)
		if err != nil {
			p.add(v.line, "registry %s: %v", quote(name), err)
			continue
		}
		entry.line = v.line
		if line := seen[entry.String()]; line > 0 {
			p.add(v.line, "registry %q is already on line %d; join the two", entry, line)
			continue
		}
		seen[entry.String()] = v.line
		r := p.reader(v.table, fmt.Sprintf("[registry.%q]", name))
		entry.credential = r.text("credential")
		entry.settings = r.settings(&p.m.LiteralSecrets)
		r.rest(registryHints(name, v.table))
		p.byHost[entry.host.name] = append(p.byHost[entry.host.name], len(p.registries))
		p.registries = append(p.registries, entry)
	}
}

func registryHints(name string, t *table) map[string]string {
	hints := map[string]string{
		"auth":     "name a [credential.NAME] with credential = \"NAME\"",
		"username": "name a [credential.NAME] with credential = \"NAME\"",
		"password": "name a [credential.NAME] with credential = \"NAME\"; the map holds no secrets",
		"ca_file":  "write ca", "insecure_skip_verify": "write skip_verify",
		"override_path": "it is written where a target has a path; put the path into the target",
	}
	for _, key := range t.keys {
		if t.find(key).kind == unstable.InlineTable {
			hints[key] = fmt.Sprintf("TOML splits a name at its dots; write [registry.\"%s.%s\"] with quotes", name, key)
		}
	}
	return hints
}

func parseRegistry(name string) (registry, error) {
	if i := strings.Index(name, "://"); i >= 0 {
		return registry{}, fmt.Errorf("a registry is named without a scheme; write %q", name[i+len("://"):])
	}
	hostname, prefix, _ := strings.Cut(name, "/")
	host, err := ParseHost(hostname)
	if err != nil {
		return registry{}, err
	}
	host = host.withoutPort("443")
	if host.name == dockerHubAlias {
		host.name = dockerHub
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix != "" {
		err = CheckRepository(prefix)
	}
	return registry{host: host, prefix: prefix}, err
}
