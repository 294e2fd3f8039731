package oracle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// A login is what a registry is offered; the zero login is an anonymous pull.
type login struct{ Username, Password string }

// A target is one entry of a mirror's targets.
type target struct {
	registry string // host[:port] as a [registry] table has it, "*" for the source itself
	prefix   string
	scheme   string // "http://", or "" for https
}

// A world is a generated map as it was meant. What an image may find is worked
// out here, from the tables that were drawn, so that none of mirrorcred's code
// judges itself.
type world struct {
	*rand.Rand
	mirrors map[string][]target            // by source
	tables  map[string]map[string][]string // credentials by registry and prefix; "anonymous" is one
	form    form                           // of the kubelet's configuration
	any     bool
}

// A form is a way to have the kubelet's configuration on a node.
type form struct {
	config string // the map's
	before string // a file that is there already, and its text
	text   string
}

const aks = `kind: CredentialProviderConfig
apiVersion: kubelet.config.k8s.io/v1
providers:
  - name: acr-credential-provider
    matchImages:
      - "*.azurecr.io"
      - "*.azurecr.cn"
      - "*.azurecr.de"
      - "*.azurecr.us"
    defaultCacheDuration: "10m"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args:
      - /etc/kubernetes/azure.json
`

const aksJSON = `{"apiVersion":"kubelet.config.k8s.io/v1","kind":"CredentialProviderConfig","providers":[{"name":"acr-credential-provider","matchImages":["*.azurecr.io"],"defaultCacheDuration":"10m","apiVersion":"credentialprovider.kubelet.k8s.io/v1"}]}`

var (
	forms = []form{
		{"/var/lib/kubelet/credential-provider-config.yaml", "", ""},
		{"/var/lib/kubelet/credential-provider-config.yaml", "/var/lib/kubelet/credential-provider-config.yaml", aks},
		{"/etc/kubernetes/provider.conf", "/etc/kubernetes/provider.conf", aksJSON},
		{"/etc/kubernetes/providers", "/etc/kubernetes/providers/10-aks.yaml", aks},
	}
	sources = []string{
		"mcr.microsoft.com", "docker.io", "quay.io", "harbor.corp:8443", "[2001:db8::2]:5000", "localhost:5000", "localhost",
		"10.0.0.1:5000", "10.0.0.1", "registry-1.docker.io", "cache-a.corp:5000", "*",
	}
	registries  = []string{"cache-a.corp:5000", "cache-b.corp", "nexus.corp:8443", "10.0.0.9:5000", "[2001:db8::9]:5000", "docker.io", "harbor.corp:8443"}
	plain       = []string{"plain.corp:8080", "10.0.0.8:5000"}
	prefixes    = []string{"", "", "hub", "hub-proxy/all", "v1/x"}
	credentials = []string{"one", "two", "three", "anonymous", "pods", "others"}
	// audiences are those of the credentials that are got with a pod's token.
	audiences = map[string]string{"pods": "registry.corp", "others": "https://other.corp/x"}
	// The last ones have fewer characters than there may be credentials.
	repositories = []string{"library/nginx", "team/app", "team/sub/app", "teamx/app", "v2/team/app", "v1/x/y", "my__app/x-y.z", "v2/x", "ab"}
)

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// some returns n of list, or fewer, in any order.
func some(r *rand.Rand, list []string, n int) []string {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}

// newWorld draws a map.
func newWorld(seed uint64, f form) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 0)), mirrors: map[string][]target{}, tables: map[string]map[string][]string{}, form: f}
	w.any = chance(w.Rand, 20)
	for _, registry := range some(w.Rand, append(slices.Clone(registries), plain...), 3+w.IntN(6)) {
		w.tables[registry] = map[string][]string{}
		for _, prefix := range append([]string{""}, some(w.Rand, []string{"hub", "hub/team", "team", "team/sub", "v2"}, w.IntN(3))...) {
			if prefix == "" && chance(w.Rand, 15) {
				continue
			}
			w.tables[registry][prefix] = w.list()
		}
	}
	for _, source := range some(w.Rand, sources, 4+w.IntN(5)) {
		w.mirrors[source] = w.targets(source)
	}
	return w
}

// list draws the credentials of a registry: often one, else several of which
// "anonymous" can only be the last.
func (w *world) list() []string {
	if chance(w.Rand, 50) {
		return []string{pick(w.Rand, credentials)}
	}
	list := some(w.Rand, credentials, 2+w.IntN(len(credentials)-1))
	if i := slices.Index(list, "anonymous"); i >= 0 {
		list = append(slices.Delete(list, i, i+1), "anonymous")
	}
	return list
}

// targets draws up to four targets, often with the source among them.
func (w *world) targets(source string) []target {
	var list []target
	for _, registry := range some(w.Rand, registries, 1+w.IntN(3)) {
		if registry != source {
			list = append(list, target{registry, pick(w.Rand, prefixes), ""})
		}
	}
	if source == "registry-1.docker.io" { // docker.io and its server are one registry
		list = slices.DeleteFunc(list, func(t target) bool { return t.registry == "docker.io" })
	}
	if len(list) == 0 || chance(w.Rand, 25) {
		list = slices.Insert(list, w.IntN(len(list)+1), target{pick(w.Rand, plain), pick(w.Rand, prefixes), "http://"})
	}
	if chance(w.Rand, 40) && source != "registry-1.docker.io" {
		list = append(list, target{registry: source})
	}
	return list
}

// text returns the map.
func (w *world) text() string {
	var out strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&out, format, args...) }
	// Version 2 takes an IPv6 address at any place among the targets.
	p("version = 1\n[containerd]\nversion = \"2.0\"\n[kubelet]\nconfig = %q\n", w.form.config)
	if w.any {
		p("match = \"any\"\n")
	}
	for _, source := range sorted(w.mirrors) {
		var list []string
		for _, t := range w.mirrors[source] {
			list = append(list, fmt.Sprintf("%q", strings.TrimSuffix(t.scheme+t.registry+"/"+t.prefix, "/")))
		}
		p("[[mirror]]\nsource = %q\ntargets = [%s]\nshare_credential = true\n", source, strings.Join(list, ", "))
	}
	for _, registry := range sorted(w.tables) {
		for _, prefix := range sorted(w.tables[registry]) {
			list := "[\"" + strings.Join(w.tables[registry][prefix], `", "`) + "\"]"
			if one := w.tables[registry][prefix]; len(one) == 1 {
				list = fmt.Sprintf("%q", one[0])
			}
			p("[registry.%q]\ncredential = %s\n", strings.TrimSuffix(registry+"/"+prefix, "/"), list)
		}
	}
	for _, name := range credentials {
		switch audience := audiences[name]; {
		case audience != "":
			p("[credential.%s]\nkind = \"service-account-token\"\nusername = %q\naudience = %q\n", name, name, audience)
		case name != "anonymous":
			p("[credential.%s]\nkind = \"docker-config\"\npath = %q\n", name, configFile(name))
		}
	}
	return out.String()
}

func configFile(name string) string { return "/etc/mirrorcred/" + name + ".json" }

// configText returns the docker config.json of a credential: a login of its own
// for each registry.
func configText(name string) string {
	auths := map[string]any{}
	for _, registry := range append(slices.Clone(registries), plain...) {
		key := registry
		if key == "docker.io" {
			key = "https://index.docker.io/v1/"
		}
		auths[key] = loginOf(name, registry)
	}
	text, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func loginOf(name, registry string) login {
	if audience := audiences[name]; audience != "" {
		return login{name, tokenFor(audience)}
	}
	return login{name + "@" + registry, "secret of " + name}
}

// tokenFor returns the token of the pod for an audience.
func tokenFor(audience string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("the pod's token for " + audience))
}

// isToken reports whether a login is one that is handed to pods alone.
func isToken(l login) bool { return audiences[l.Username] != "" }

// finds returns what the map says that an image may find, in the order of the
// targets and of the credentials of each, each login once; nothing if all are
// anonymous.
func (w *world) finds(host, repository string) []login {
	var list []login
	secret := false
	for _, t := range w.servedBy(host) {
		for _, l := range w.logins(t.registry, strings.TrimPrefix(t.prefix+"/"+repository, "/")) {
			secret = secret || l != login{}
			if !slices.Contains(list, l) {
				list = append(list, l)
			}
		}
	}
	if !secret {
		return nil
	}
	return list
}

// servedBy returns the targets of a host as an image spells it.
func (w *world) servedBy(host string) []target {
	if list, ok := w.mirrors[host]; ok {
		return list
	}
	if w.tables[host] != nil && len(w.tables[host]) > 0 {
		return []target{{registry: host}}
	}
	if strings.Contains(host, ":") { // the mirror of "*" reaches no host with a port
		return nil
	}
	return w.mirrors["*"]
}

// logins returns the logins for a repository of a registry in their order, by the
// table with the longest prefix.
func (w *world) logins(registry, repository string) []login {
	best, names := -1, []string{"anonymous"}
	for prefix, credentials := range w.tables[registry] {
		if len(prefix) > best && (prefix == "" || repository == prefix || strings.HasPrefix(repository, prefix+"/")) {
			best, names = len(prefix), credentials
		}
	}
	var list []login
	for _, name := range names {
		if name == "anonymous" {
			list = append(list, login{})
			continue
		}
		list = append(list, loginOf(name, registry))
	}
	return list
}

// hosts returns the hosts whose images are looked up: all that the map names,
// and some that only look like them.
func (w *world) hosts() []string {
	list := append(slices.Clone(sources), registries...)
	list = append(list, plain...)
	list = append(list, "ghcr.io", "a.b.c.d.e.example", "[2001:db8::2]", "[2001:DB8::2]:5000")
	for _, host := range append(sorted(w.mirrors), sorted(w.tables)...) {
		if strings.HasPrefix(host, "[") || host == "*" {
			continue
		}
		name, port, hasPort := strings.Cut(host, ":")
		if hasPort {
			port = ":" + port
		}
		list = append(list,
			"evil"+host, "x."+host, name+".evil.example"+port, name+"x"+port, strings.ToUpper(host),
			name, name+":443", name+":8444", "sub.x."+name+port)
	}
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(host string) bool {
		// A word alone is a path of docker.io.
		return host == "*" || host != "localhost" && strings.ToLower(host) == host && !strings.ContainsAny(host, ".:")
	})
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
