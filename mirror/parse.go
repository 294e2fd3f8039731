package mirror

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// version is the version of the map's format that this package knows.
const version = 1

// Parse returns the map that data says. file is its name in faults. The error
// joins every [Fault] of meaning in the order of their lines; a fault of
// syntax comes alone.
func Parse(file string, data []byte) (*Map, error) {
	root, err := parseDocument(file, data)
	if err != nil {
		return nil, err
	}
	p := parser{faults: faults{file: file}, m: &Map{bySource: map[string]int{}}}
	r := p.reader(root, "the map")
	if !p.version(r) {
		return nil, p.err()
	}
	p.credentials(r.sub("credential"))
	p.registriesOf(r.sub("registry"))
	p.mirrors(r.get("mirror"))
	p.containerd(r.sub("containerd"))
	p.kubelet(r.sub("kubelet"))
	r.rest(map[string]string{
		"mirrors":    "write each as a table [[mirror]] of its own",
		"registries": "write each as a table [registry.\"host\"] of its own",
		"configs":    "a registry's settings stand in [registry.\"host\"]",
	})
	p.join()
	if err := p.err(); err != nil {
		return nil, err
	}
	return p.m, nil
}

// A parser carries a map while it is read.
type parser struct {
	faults
	m          *Map
	registries []registry
	byHost     map[string][]int // indices in registries
	headers    map[int][]Header // of a mirror, by its index in m.Mirrors
}

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

// version reports whether the map is of the version that we know.
func (p *parser) version(r *reader) bool {
	v := r.get("version")
	switch {
	case v == nil:
		p.add(1, "version is missing; write \"version = %d\" at the top", version)
	case v.kind != unstable.Integer:
		p.add(v.line, "version is not a number; write \"version = %d\"", version)
	case v.text == strconv.Itoa(version):
		return true
	default:
		if n, err := strconv.Atoi(v.text); err == nil && n > version {
			p.add(v.line, "version %d is newer than this program, which reads version %d; update mirrorcred on this node", n, version)
		} else {
			p.add(v.line, "version %s is none; write \"version = %d\"", v.text, version)
		}
	}
	return false
}

func (p *parser) credentials(t *table) {
	if t == nil {
		return
	}
	for _, name := range t.keys {
		v := t.find(name)
		switch {
		case name == "anonymous":
			p.add(v.line, "credential \"anonymous\" stands for none; choose another name")
		case !isName(name):
			p.add(v.line, "credential %q: a name has letters, digits, \".\", \"_\" and \"-\"", name)
		case v.kind != unstable.InlineTable:
			p.add(v.line, "credential %q is not a table; write [credential.%s]", name, name)
		default:
			p.m.Credentials = append(p.m.Credentials, p.credential(name, v.table))
		}
	}
}

func isName(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

func (p *parser) credential(name string, t *table) Credential {
	r := p.reader(t, fmt.Sprintf("[credential.%s]", name))
	c := Credential{Name: name, Kind: Kind(r.text("kind"))}
	switch c.Kind {
	case Azure:
		c.File = r.path("config", DefaultAzureConfig)
	case DockerConfig:
		c.File = r.required("path", "the docker config.json, such as \"/etc/mirrorcred/"+name+".json\"")
	case Exec:
		c.Command = r.required("command", "the absolute path of a kubelet credential provider")
		c.Args = texts(r.texts("args", false))
		c.Env = r.env()
	case PodToken:
		c.Username, c.Audience = r.text("username"), r.text("audience")
	default:
		if t.find("kind") == nil {
			p.add(t.line, "[credential.%s] has no kind; the kinds are %s", name, kinds)
		} else if c.Kind != "" {
			p.add(r.at("kind"), "kind %q of [credential.%s] is unknown; the kinds are %s", c.Kind, name, kinds)
		}
		return c // the keys of an unknown kind are unknown too
	}
	if name == azureCredential && c.Kind != Azure {
		p.add(r.at("kind"), "[credential.azure] is what ACR hosts use unless the map says otherwise; give a credential of kind %q another name", c.Kind)
	}
	r.rest(map[string]string{
		"password": "the map holds no secrets; write a docker config.json and name its path with kind = \"docker-config\"",
		"username": "the map holds no secrets; write a docker config.json and name its path with kind = \"docker-config\"",
	})
	return c
}

// required is path for a key that has to be there.
func (r *reader) required(key, what string) string {
	if r.find(key) == nil {
		r.add(r.line, "%s has no %s; write %s", r.what, key, what)
	}
	return r.path(key, "")
}

// env reads a table of environment variables.
func (r *reader) env() []string {
	t := r.sub("env")
	if t == nil {
		return nil
	}
	vars := r.faults.reader(t, "env of "+r.what)
	var list []string
	for _, name := range t.keys {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			r.add(vars.at(name), "%q is no name of an environment variable", name)
			continue
		}
		if v := vars.get(name); vars.want(name, v, unstable.String) {
			list = append(list, name+"="+v.text)
		}
	}
	return list
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

func (p *parser) mirrors(v *value) {
	p.headers = map[int][]Header{}
	if v == nil {
		return
	}
	if v.kind != unstable.Array {
		p.add(v.line, "mirror is not a list of tables; write [[mirror]] with two brackets")
		return
	}
	for _, e := range v.list {
		if e.kind != unstable.InlineTable {
			p.add(e.line, "mirror is not a list of tables; write [[mirror]] with two brackets")
			continue
		}
		p.mirror(e.table)
	}
}

const elsewhere = "that is a registry's; write it under [registry.\"host\"] for the target's host"

var mirrorHints = map[string]string{
	"endpoint": "write targets", "endpoints": "write targets", "target": "write targets = [\"…\"]",
	"credential": elsewhere, "ca": elsewhere, "client": elsewhere, "skip_verify": elsewhere,
	"dial_timeout": elsewhere, "capabilities": elsewhere,
	"server": "the last target is the server; name the source itself as the last target to fall back to it",
}

func (p *parser) mirror(t *table) {
	r := p.reader(t, "[[mirror]]")
	m := Mirror{Line: t.line, ShareCredential: false}
	source := r.text("source")
	targets := r.texts("targets", false)
	m.ShareCredential = r.flag("share_credential")
	headers := r.headers(&p.m.LiteralSecrets)
	r.rest(mirrorHints)
	ok := true
	if t.find("source") == nil {
		p.add(t.line, "[[mirror]] has no source; write source = \"mcr.microsoft.com\", or \"*\" for every registry without a mirror of its own")
	}
	var err error
	if m.Source, err = ParseSource(source); err != nil {
		ok = false
		if source != "" {
			p.add(r.at("source"), "source %s: %v", quote(source), err)
		}
	}
	if v := t.find("targets"); v == nil || v.kind == unstable.Array && len(v.list) == 0 {
		p.add(r.at("targets"), "mirror of %q has no target; write targets = [\"host\"]", source)
	}
	for _, v := range targets {
		if target, good := p.target(m, v); good {
			m.Targets = append(m.Targets, target)
		}
	}
	if !ok {
		return
	}
	if i, twice := p.m.bySource[m.Source.name]; twice {
		p.add(r.at("source"), "source %q is already on line %d; give one mirror all the targets", m.Source, p.m.Mirrors[i].Line)
		return
	}
	p.m.bySource[m.Source.name] = len(p.m.Mirrors)
	p.headers[len(p.m.Mirrors)] = headers
	p.m.Mirrors = append(p.m.Mirrors, m)
}

// target reads one target of m; false means that it is at fault.
func (p *parser) target(m Mirror, v *value) (Target, bool) {
	if v.text == "*" {
		if !m.Source.Any() {
			p.add(v.line, "target \"*\": it stands for the source itself in the mirror of \"*\" alone; write %q", m.Source)
			return Target{}, false
		}
		return Target{scheme: "https", self: true}, true
	}
	t, err := ParseTarget(v.text)
	if err != nil {
		p.add(v.line, "target %s: %v", quote(v.text), err)
		return Target{}, false
	}
	for _, other := range m.Targets {
		if other.self && other.host == (Host{}) {
			p.add(v.line, "target %s stands behind \"*\", the source itself; put \"*\" last", quote(v.text))
			return Target{}, false
		}
		if other.address() == t.address() {
			p.add(v.line, "target %s: %q has the same host and port, for which containerd keeps one token; leave one of them out", quote(v.text), other)
			return Target{}, false
		}
	}
	t.self = t.scheme == "https" && t.host == m.Source.server() && t.API() == "/v2"
	return t, true
}

func (p *parser) containerd(t *table) {
	p.m.Containerd = Containerd{HostsDir: DefaultHostsDir, Config: DefaultContainerdConfig, Address: DefaultAddress}
	if t == nil {
		return
	}
	r := p.reader(t, "[containerd]")
	p.m.Containerd = Containerd{
		HostsDir:   r.path("hosts_dir", DefaultHostsDir),
		Config:     r.path("config", DefaultContainerdConfig),
		Address:    r.path("address", DefaultAddress),
		ConfigPath: r.text("config_path"),
		Version:    r.text("version"),
	}
	if v := p.m.Containerd.Version; v != "" && !isVersion(v) {
		p.add(r.at("version"), "version %q of [containerd] is none; write it such as \"2.2\", or leave it out for a tree that each of 1.7 to 2.4 reads", v)
	}
	r.rest(nil)
}

// isVersion reports whether s begins with MAJOR.MINOR.
func isVersion(s string) bool {
	major, rest, ok := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	minor, _, _ := strings.Cut(rest, ".")
	_, err := strconv.Atoi(major)
	_, err2 := strconv.Atoi(minor)
	return ok && err == nil && err2 == nil
}

func (p *parser) kubelet(t *table) {
	p.m.Kubelet = Kubelet{Config: DefaultKubeletConfig, BinDir: DefaultBinDir}
	if t == nil {
		return
	}
	r := p.reader(t, "[kubelet]")
	k := Kubelet{
		Config: r.path("config", DefaultKubeletConfig),
		BinDir: r.path("bin_dir", DefaultBinDir),
	}
	for _, v := range r.texts("match_images", false) {
		if err := checkPattern(v.text); err != nil {
			p.add(v.line, "match_images: pattern %q: %v", v.text, err)
			continue
		}
		k.MatchImages = append(k.MatchImages, v.text)
	}
	switch match := r.text("match"); match {
	case "", "sources":
	case "any":
		k.MatchAny = true
	default:
		p.add(r.at("match"), "match %q is unknown; write \"sources\" or \"any\"", match)
	}
	switch plugin := r.text("plugin"); plugin {
	case "", "mirror-credential-provider":
	case "acr-credential-provider":
		p.add(r.at("plugin"), "plugin %q: this version of mirrorcred drives its own plugin only, which takes the same arguments; leave the key out", plugin)
	default:
		p.add(r.at("plugin"), "plugin %q is unknown; leave the key out", plugin)
	}
	r.rest(nil)
	p.m.Kubelet = k
}
