package mirror

import (
	"fmt"
	"strconv"

	"github.com/pelletier/go-toml/v2/unstable"
)

// version is the version of the map's format that this package knows.
const version = 1

// Parse returns the map in data. file is its name in faults. The error joins
// all faults, each a *[Fault], in the order of their lines. A fault of TOML's
// syntax comes alone.
func Parse(file string, data []byte) (*Map, error) { return parser{}.parse(file, data) }

// ParseClosed is [Parse] for a map that only root can read: the arguments of
// its commands may be secrets.
func ParseClosed(file string, data []byte) (*Map, error) {
	return parser{closed: true}.parse(file, data)
}

func (p parser) parse(file string, data []byte) (*Map, error) {
	root, err := parseDocument(file, data)
	if err != nil {
		return nil, err
	}
	p.file, p.m, p.credentialLines = file, &Map{file: file, bySource: map[string]int{}}, map[string]int{}
	r := p.reader(root, "the map")
	if !p.version(r) {
		return nil, p.err()
	}
	p.credentials(r.sub("credential"))
	p.registriesOf(r.sub("registry"))
	p.mirrors(r.get("mirror"))
	p.containerd(r.sub("containerd"))
	p.kubelet(r.sub("kubelet"))
	p.checkKubelet()
	r.rest(map[string]string{
		"mirrors":    "write each as a table [[mirror]] of its own",
		"registries": "write each as a table [registry.\"host\"] of its own",
		"configs":    "write a registry's settings in [registry.\"host\"]",
	})
	p.join()
	if p.delivered {
		p.judge(root)
	}
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
	below      int              // how many Below all targets have

	headerBytes int // of all targets

	pieces *pieces // of a document of [Versions]; nil if it is parsed alone

	credentialLines map[string]int // by name; 0 for one that is implied
	pluginLine      int            // of plugin under [kubelet]
	closed          bool           // see [ParseClosed]
	delivered       bool           // see [ParseDelivered]
	allowed         *Allowed       // the node's, nil if it is not known
}

// version reports whether the map is of the version that this package reads.
func (p *parser) version(r *reader) bool {
	v := r.get("version")
	switch {
	case p.isForeign(r):
	case v == nil:
		if name, line := misplacedVersion(r.table); line > 0 {
			p.add(line, "version is inside %s; move it above the first table", name)
			break
		}
		p.add(1, "version is missing; write \"version = %d\" at the top", version)
	case v.kind == unstable.Float && v.text == "1.0":
		return true // as Helm's toToml prints the number 1
	case v.kind != unstable.Integer:
		p.add(v.line, "version is not a whole number; write version = %d", version)
	case v.text == strconv.Itoa(version):
		return true
	default:
		if n, err := strconv.Atoi(v.text); err == nil && n > version {
			p.add(v.line, "version %d is newer than this program, which reads version %d; update mirrorcred on this node", n, version)
		} else {
			p.add(v.line, "version %s does not exist; write version = %d", v.text, version)
		}
	}
	return false
}

// misplacedVersion returns the table that the map's version is in by mistake, as
// it follows that table's header, and its line; 0 if it is in no table.
func misplacedVersion(root *table) (name string, line int) {
	var search func(name string, v *value)
	search = func(path string, v *value) {
		if v.kind == unstable.Array && v.headed {
			for _, e := range v.list {
				search("["+path+"]", e)
			}
		}
		if v.table == nil || line > 0 {
			return
		}
		if own := v.table.find("version"); own != nil && own.kind == unstable.Integer {
			name, line = "["+path+"]", own.line
			return
		}
		for i, key := range v.table.keys {
			if !isBareKey(key) {
				key = strconv.Quote(key)
			}
			search(path+"."+key, v.table.list[i])
		}
	}
	for i, key := range root.keys {
		search(key, root.list[i])
	}
	return name, line
}

// isForeign reports whether the document is another program's configuration, and
// adds a fault if it is.
func (p *parser) isForeign(r *reader) bool {
	for _, of := range []struct{ key, what string }{
		{"plugins", "a configuration of containerd"}, {"host", "a hosts.toml of containerd"},
	} {
		if v := r.find(of.key); v != nil && v.kind == unstable.InlineTable {
			p.add(v.line, "this is %s, not a mirror map; \"mirrorcred import\" makes a map of it", of.what)
			return true
		}
	}
	return false
}

func (p *parser) mirrors(v *value) {
	p.headers = map[int][]Header{}
	if p.pieces != nil && !p.pieces.fit(v) {
		if p.pieces.hasKnown() {
			p.add(1, "known mirrors are not where they were")
		}
		p.pieces = nil
	}
	if v == nil {
		return
	}
	if v.kind != unstable.Array {
		p.add(v.line, "mirror is not a list of tables; write [[mirror]] with two brackets")
		return
	}
	most := max(len(v.list), p.pieces.count())
	p.m.Mirrors, p.m.bySource = make([]Mirror, 0, most), make(map[string]int, most)
	if p.pieces != nil {
		p.versionMirrors(v.list)
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

// mirrorHints are the hints for the keys of a mirror. Its registry's settings are
// written elsewhere, under the host of the first target.
func mirrorHints(targets []*value) map[string]string {
	host := "HOST"
	if len(targets) > 0 {
		if t, err := ParseTarget(targets[0].text); err == nil {
			host = t.host.name
		}
	}
	hints := map[string]string{
		"server": "the last target is the server; to fall back to the source, name it as the last target",
	}
	for _, key := range []string{"credential", "ca", "client", "skip_verify", "dial_timeout", "capabilities", "deliver", "token_host"} {
		hints[key] = fmt.Sprintf("it belongs to the target's registry; write it under [registry.%q]", host)
	}
	return hints
}

func (p *parser) mirror(t *table) {
	r := p.reader(t, "[[mirror]]")
	m := Mirror{Line: t.line, ShareCredential: false}
	source := r.text("source")
	targets := p.few(r, r.texts("targets", false))
	m.ShareCredential = r.flag("share_credential")
	m.Ready = r.ready()
	headers := r.headers(&p.m.LiteralSecrets)
	ok := true
	if t.find("source") == nil {
		r.need("source", "[[mirror]] has no source; write source = \"mcr.microsoft.com\", or \"*\" for every registry without a mirror of its own")
	}
	if v := t.find("targets"); v == nil || v.kind == unstable.Array && len(v.list) == 0 {
		r.need("targets", "mirror of %q has no target; write targets = [\"contoso.azurecr.io\"]", source)
	}
	var hints map[string]string
	if r.hasUnknown() {
		hints = mirrorHints(targets) // rarely: of 10,000 mirrors, they are half of the time
	}
	r.rest(hints)
	var err error
	if m.Source, err = ParseSource(source); err != nil {
		ok = false
		if source != "" {
			p.add(r.at("source"), "source %q: %v", source, err)
		}
	}
	for _, v := range targets {
		if target, good := p.target(m, v); good {
			m.Targets = append(m.Targets, target)
		}
	}
	p.checkReady(r, m)
	if ok {
		p.addMirror(m, headers, r.at("source"))
	}
}

// addMirror adds a mirror to the map. line is that of its source.
func (p *parser) addMirror(m Mirror, headers []Header, line int) {
	if i, twice := p.m.bySource[m.Source.name]; twice {
		p.add(line, "source %q is already on line %d; write one mirror with all the targets", m.Source, p.m.Mirrors[i].Line)
		return
	}
	p.m.bySource[m.Source.name] = len(p.m.Mirrors)
	if len(headers) > 0 {
		p.headers[len(p.m.Mirrors)] = headers
	}
	p.m.Mirrors = append(p.m.Mirrors, m)
}

// mostTargets is how many targets a mirror may have: each is compared with each, and
// containerd may ask all of them for each pull.
const mostTargets = 100

// few returns the targets that are read.
func (p *parser) few(r *reader, targets []*value) []*value {
	if len(targets) <= mostTargets {
		return targets
	}
	p.add(targets[mostTargets].line, "%s has %d targets; write %d at most", r.what, len(targets), mostTargets)
	return targets[:mostTargets]
}

// target reads one target of m; false means that it is invalid.
func (p *parser) target(m Mirror, v *value) (Target, bool) {
	if v.text == "*" {
		if !m.Source.Any() {
			write := "name the source itself"
			if m.Source != (Source{}) {
				write = fmt.Sprintf("write %q", m.Source)
			}
			p.add(v.line, "target \"*\" stands for the source itself, in the mirror of \"*\" alone; %s", write)
			return Target{}, false
		}
		return Target{scheme: "https", self: true}, true
	}
	t, err := ParseTarget(v.text)
	if err != nil {
		p.add(v.line, "target %q: %v", v.text, err)
		return Target{}, false
	}
	for _, other := range m.Targets {
		if other.self && other.host == (Host{}) {
			p.add(v.line, "target %q follows \"*\", the source itself; put \"*\" last", v.text)
			return Target{}, false
		}
		if other.address() == t.address() {
			p.add(v.line, "target %q: %q has the same host and port, and containerd keeps one token for both; remove one of them", v.text, other)
			return Target{}, false
		}
	}
	t.self = t.scheme == "https" && t.host == m.Source.server() && t.API() == "/v2"
	return t, true
}
