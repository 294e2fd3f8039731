package importer

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// An item is an entry of a YAML mapping, in document order.
type item[T any] struct {
	key   string
	line  int
	value T
}

type mapping[T any] []item[T]

// UnmarshalYAML implements yaml.Unmarshaler.
func (m *mapping[T]) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: this must be a mapping", n.Line)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		one := item[T]{key: n.Content[i].Value, line: n.Content[i].Line}
		if n.Content[i].Tag == "!!merge" {
			return fmt.Errorf("line %d: << is not supported here; write out the merged keys", one.line)
		}
		if n.Content[i+1].Tag != "!!null" {
			if err := n.Content[i+1].Decode(&one.value); err != nil {
				return fmt.Errorf("line %d: what is under %q cannot be read", n.Content[i+1].Line, one.key)
			}
		}
		*m = append(*m, one)
	}
	return nil
}

// registriesFile is registries.yaml of k3s and RKE2 (github.com/rancher/wharfie
// v0.7, pkg/registries/types.go).
type registriesFile struct {
	Mirrors mapping[struct {
		Endpoint []string          `yaml:"endpoint"`
		Rewrite  map[string]string `yaml:"rewrite"`
	}] `yaml:"mirrors"`
	Configs mapping[struct {
		Auth map[string]any `yaml:"auth"`
		TLS  *struct {
			CA         string `yaml:"ca_file"`
			Cert       string `yaml:"cert_file"`
			Key        string `yaml:"key_file"`
			SkipVerify bool   `yaml:"insecure_skip_verify"`
		} `yaml:"tls"`
	}] `yaml:"configs"`
	Auths mapping[map[string]any] `yaml:"auths"`
}

// rancher imports registries.yaml. k3s adds the source itself after the
// endpoints, unless it runs with --disable-default-registry-endpoint, which the
// file does not show.
func (d *draft) rancher(file string, root *yaml.Node) error {
	var f registriesFile
	if err := root.Decode(&f); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for _, m := range f.Mirrors {
		at := place{file, m.line}
		prefix, ok := d.rewrite(at, m.value.Rewrite)
		if !ok {
			continue
		}
		d.endpoints(at, m.key, m.value.Endpoint, prefix, true)
	}
	for _, c := range f.Configs {
		at := place{file, c.line}
		if tls := c.value.TLS; tls != nil {
			s := settings{skipVerify: tls.SkipVerify}
			if tls.CA != "" {
				s.ca = []string{tls.CA}
			}
			if tls.Cert != "" || tls.Key != "" {
				s.client = [][2]string{{tls.Cert, tls.Key}}
			}
			d.setting(at, c.key, s)
		}
		if len(c.value.Auth) > 0 {
			d.login(at, c.key, c.value.Auth)
		}
	}
	for _, a := range f.Auths {
		if len(a.value) > 0 {
			d.login(place{file, a.line}, hostIn(a.key), a.value)
		}
	}
	return nil
}

// setting adds the TLS settings of a registry, given as host[:port].
func (d *draft) setting(at place, address string, s settings) {
	host := hostIn(address)
	if host == "*" {
		d.lose(at, "settings for every registry are left out: a map has them for each registry by name; write a [registry.\"host\"] for each that needs them")
		return
	}
	d.onHost(at, host, func(r *registry) {
		s.header, s.capabilities = r.header, r.capabilities
		r.settings = s
	})
}

// login gives a registry a credential from a file that the operator writes. The
// secrets of the imported file are not repeated.
func (d *draft) login(at place, host string, auth map[string]any) {
	host = hostIn(host)
	if host == "*" {
		d.lose(at, "a login for every registry is left out: a map has it for each registry by name")
		return
	}
	name := credentialName(host)
	for n := 2; slices.ContainsFunc(d.credentials, func(l login) bool { return l.name == name }); n++ {
		name = fmt.Sprintf("%s-%d", credentialName(host), n)
	}
	path := "/etc/mirrorcred/" + name + ".json"
	what := "the login"
	if auth["identity_token"] != nil || auth["identitytoken"] != nil {
		what = "the identity token"
	}
	d.lose(at, "%s for %s is not copied, since a map holds no secrets; write it to %s, mode 0600, as docker login does: {\"auths\": {%s: {\"auth\": \"BASE64 OF USER:PASSWORD\"}}}",
		what, host, path, quote(host))
	d.credentials = append(d.credentials, login{name, string(mirror.DockerConfig), path})
	d.onHost(at, host, func(r *registry) { r.credential = name })
}

var notInName = regexp.MustCompile(`[^a-z0-9]+`)

func credentialName(host string) string {
	return strings.Trim(notInName.ReplaceAllString(strings.ToLower(host), "-"), "-")
}

// anyPattern are regular expressions that match each repository as a whole.
var anyPattern = []string{"(.*)", "^(.*)", "(.*)$", "^(.*)$", "(.+)", "^(.+)", "(.+)$", "^(.+)$"}

// rewrite returns the prefix that rewrite rules put before each repository.
func (d *draft) rewrite(at place, rules map[string]string) (prefix string, ok bool) {
	switch len(rules) {
	case 0:
		return "", true
	case 1:
		for pattern, to := range rules {
			prefix, ok := strings.CutSuffix(to, "/$1")
			if ok && slices.Contains(anyPattern, pattern) && mirror.CheckRepository(prefix) == nil {
				return prefix, true
			}
			if to == "$1" && slices.Contains(anyPattern, pattern) {
				return "", true
			}
		}
	}
	var patterns []string
	for pattern := range rules {
		patterns = append(patterns, quote(pattern))
	}
	slices.Sort(patterns)
	d.lose(at, "the rewrite of %s is not a plain prefix such as \"(.*)\": \"hub/$1\", which is all a map can have; the mirror is left out", strings.Join(patterns, ", "))
	return "", false
}

// endpoints adds a mirror with a list of addresses, as in k3s and containerd's
// CRI plugin, and the source itself last.
func (d *draft) endpoints(at place, source string, addresses []string, prefix string, k3s bool) {
	if folded := strings.ToLower(source); folded != source {
		d.lose(at, "images that spell the host %q are looked up here and no others; a map's source is in lower case, so the mirror is left out", oneLine(source))
		return
	}
	if len(addresses) == 0 {
		return
	}
	r := route{place: at, source: source, notes: []string{fmt.Sprintf("%s:%d", at.file, at.line)}}
	for _, address := range addresses {
		t, err := endpointOf(address, source, prefix, k3s)
		if err != nil {
			d.lose(at, "%s is left out: %v", withoutLogin(oneLine(address)), err)
			continue
		}
		if i := slices.IndexFunc(r.targets, func(other target) bool { return other.host == t.host && other.self == t.self }); i >= 0 {
			if r.targets[i].name != t.name {
				d.lose(at, "%s is left out: a mirror has one target on a host and port, since containerd keeps one token for it", t.name)
			}
			continue
		}
		r.targets = append(r.targets, t)
	}
	if !slices.ContainsFunc(r.targets, func(t target) bool { return t.self }) {
		r.targets = append(r.targets, target{name: source, host: source, self: true})
	}
	if i := slices.IndexFunc(r.targets, func(t target) bool { return t.self }); i < len(r.targets)-1 && i >= 0 {
		d.lose(at, "targets after the source itself are left out: a map has the source last")
		r.targets = r.targets[:i+1]
	}
	if len(r.targets) == 1 && r.targets[0].self {
		return
	}
	d.route(r)
}

// endpointOf returns a mirror's address as a target of the map.
func endpointOf(address, source, prefix string, k3s bool) (target, error) {
	if !strings.Contains(address, "://") {
		if !k3s {
			return target{}, fmt.Errorf("it has no scheme; write https://%s", withoutLogin(address))
		}
		// As in k3s: plain http on this node, unless the port says otherwise.
		scheme := "https://"
		if host := hostIn(address); isLoopback(host) && !strings.HasSuffix(host, ":443") {
			scheme = "http://"
		}
		address = scheme + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return target{}, fmt.Errorf("it is not a URL")
	}
	api := u.Path
	if k3s {
		api = path.Clean("/" + api)
	}
	if api == "" || api == "/" {
		api = "/v2"
	}
	host := strings.ToLower(u.Host)
	if api == "/v2" && u.Scheme == "https" && hosts.Serves(host, source) {
		// k3s does not rewrite for the source itself either.
		return target{name: source, host: source, self: true}, nil
	}
	if prefix != "" {
		if api != "/v2" && !strings.HasPrefix(api, "/v2/") {
			return target{}, fmt.Errorf("its API is at %q and its repositories are below %q; a map has one or the other", api, prefix)
		}
		api += "/" + prefix
	}
	name, below, err := nameOf(u.Scheme, host, api)
	if err != nil {
		return target{}, err
	}
	return target{name: name, host: host, prefix: below}, nil
}

func isLoopback(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name = host[:i]
	}
	return name == "localhost" || strings.HasPrefix(name, "127.") || name == "[::1]"
}
