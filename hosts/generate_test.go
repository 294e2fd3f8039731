package hosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// pems are the files that the maps of a test name: containerd loads them.
type pems struct{ ca, cert, key, both string }

func makePEMs(t testing.TB) pems {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(crand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	dir := t.TempDir()
	p := pems{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "c.crt"), filepath.Join(dir, "c.key"), filepath.Join(dir, "both.pem")}
	write(t, p.ca, certPEM)
	write(t, p.cert, certPEM)
	write(t, p.key, keyPEM)
	write(t, p.both, append(slices.Clone(certPEM), keyPEM...))
	return p
}

// A generator writes maps that are valid, and that between them use every
// field.
type generator struct {
	*rand.Rand
	pems    pems
	secrets map[string]string // by the file that a header names
	out     strings.Builder
}

var (
	// The registries that are reached by https, and those by http, which
	// have no TLS settings.
	tlsHosts = []string{
		"contoso.azurecr.io", "harbor.corp:8443", "nexus.corp", "[2001:db8::1]:5000", "10.0.0.1:5000", "localhost:5001",
		"ghcr.io", "docker.io", "httpbin.example.com", "Upper.Example:443",
	}
	plainHosts  = []string{"plain.corp", "plain.corp:8080", "10.0.0.2:5000", "localhost:5002", "[::1]:5003"}
	sourceHosts = []string{
		"mcr.microsoft.com", "docker.io", "quay.io", "harbor.corp:8443", "[2001:db8::2]:5000", portless,
		"localhost:5000", "localhost", "127.0.0.1:80", "registry-1.docker.io", "*",
	}
	paths        = []string{"", "", "", "", "/p", "/hub-proxy/all", "/v2/p", "/v2"}
	headerNames  = []string{"X-Forwarded-For", "authorization", "X.Dotted", "X_Under", "x-'`~!"}
	headerValues = []string{
		"plain", `with "quotes"`, `back\slash\u0041`, "tab\tbed", "übergrün 鯨 🐳", `'`, " spaced ", "# no comment", "]}\u00a0\u2028\ufeff",
	}
	versions = []string{"", "", "1.7", "1.7.31", "2.0", "2.1.9", "2.2", "2.4"}
)

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// some returns n of list, or fewer, in any order.
func some[T any](r *rand.Rand, list []T, n int) []T {
	list = slices.Clone(list)
	r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list[:min(n, len(list))]
}

// lit returns v as TOML: strings and lists of strings are as in JSON.
func lit(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (g *generator) printf(format string, args ...any) { fmt.Fprintf(&g.out, format, args...) }

// generateMap returns a map, and the secrets that its headers' files hold.
func generateMap(seed uint64, p pems) (text string, secrets map[string]string) {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0)), pems: p, secrets: map[string]string{}}
	g.printf("version = 1\n")
	if version := pick(g.Rand, versions); version != "" {
		g.printf("[containerd]\nversion = %s\n", lit(version))
	}
	for _, source := range some(g.Rand, sourceHosts, 1+g.IntN(5)) {
		g.mirror(source)
	}
	for _, host := range some(g.Rand, tlsHosts, g.IntN(5)) {
		g.registry(host, true)
		if chance(g.Rand, 30) {
			g.registry(host+"/hub-proxy", true)
		}
	}
	for _, host := range some(g.Rand, plainHosts, g.IntN(2)) {
		g.registry(host, false)
	}
	g.printf("[credential.harbor]\nkind = \"docker-config\"\npath = \"/harbor.json\"\n")
	return g.out.String(), g.secrets
}

// mirror writes a [[mirror]]: up to four targets, and often the source itself.
func (g *generator) mirror(source string) {
	var targets []string
	for _, host := range some(g.Rand, tlsHosts, g.IntN(4)) {
		if host == source || strings.HasSuffix(source, "docker.io") && host == "docker.io" || source == portless && withCredential(host) {
			continue
		}
		path := pick(g.Rand, paths)
		if path == "" && chance(g.Rand, 20) {
			targets = append(targets, "https://"+host+"/Repository/hub/v2")
			continue
		}
		targets = append(targets, pick(g.Rand, []string{"", "https://"})+host+path)
	}
	if len(targets) == 0 || chance(g.Rand, 30) {
		targets = append(targets, "http://"+pick(g.Rand, plainHosts)+pick(g.Rand, paths))
	}
	if chance(g.Rand, 50) {
		at := g.IntN(len(targets) + 1)
		if source == "*" {
			at = len(targets)
		}
		targets = slices.Insert(targets, at, source)
		if source != "*" && chance(g.Rand, 20) {
			targets = []string{source}
		}
	}
	g.printf("[[mirror]]\nsource = %s\ntargets = %s\nshare_credential = true\n", lit(source), lit(targets))
	if chance(g.Rand, 30) {
		g.header()
	}
}

// portless is a source for which the kubelet never asks a plugin, so the map refuses a
// credential for it.
const portless = "[2001:db8::3]"

// withCredential reports whether a registry has a credential, or may get one from its
// [registry."…"].
func withCredential(host string) bool {
	return host == "contoso.azurecr.io" || host == "harbor.corp:8443"
}

// registry writes a [registry."…"]; tls says that it may have TLS settings.
func (g *generator) registry(name string, tls bool) {
	g.printf("[registry.%s]\n", lit(name))
	if tls && chance(g.Rand, 40) {
		g.printf("ca = %s\n", pick(g.Rand, []string{lit(g.pems.ca), lit([]string{g.pems.ca, g.pems.cert})}))
	}
	if tls && chance(g.Rand, 30) {
		g.printf("client = %s\n", pick(g.Rand, []string{
			lit(g.pems.both), lit([][]string{{g.pems.both}}), lit([][]string{{g.pems.cert, g.pems.key}}),
			lit([][]string{{g.pems.cert, g.pems.key}, {g.pems.both}}),
		}))
	}
	if tls && chance(g.Rand, 30) {
		g.printf("skip_verify = true\n")
	}
	if chance(g.Rand, 30) {
		g.printf("dial_timeout = %s\n", lit(pick(g.Rand, []string{"5s", "1500ms", "1h2m"})))
	}
	if chance(g.Rand, 30) {
		list := append([]string{"pull"}, some(g.Rand, []string{"resolve", "push", "Referrers"}, g.IntN(4))...)
		g.printf("capabilities = %s\n", lit(list))
	}
	if chance(g.Rand, 30) {
		g.header()
	}
	if name == "harbor.corp:8443" {
		g.printf("credential = \"harbor\"\n")
	}
}

// header writes one to three headers.
func (g *generator) header() {
	var entries []string
	for _, name := range some(g.Rand, headerNames, 1+g.IntN(3)) {
		value := lit(pick(g.Rand, headerValues))
		switch g.IntN(3) {
		case 0:
			value = lit(some(g.Rand, headerValues, 2))
		case 1:
			file := fmt.Sprintf("/secret/%d", g.IntN(100))
			g.secrets[file] = pick(g.Rand, headerValues)
			value = "{ file = " + lit(file) + " }"
		}
		entries = append(entries, lit(name)+" = "+value)
	}
	g.printf("header = { %s }\n", strings.Join(entries, ", "))
}
