package mirror

import (
	"strconv"

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
	p := parser{faults: faults{file: file}, m: &Map{bySource: map[string]int{}}, credentialLines: map[string]int{}}
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

	credentialLines map[string]int // by name; 0 for one that is implied
	pluginLine      int            // of plugin under [kubelet]
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
