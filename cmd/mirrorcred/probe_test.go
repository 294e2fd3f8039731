package main

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/probe"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// probeSecret is the password of the plugin's answers in these tests.
const probeSecret = "CANARY-password"

// A probeCase is a registry with one fault.
type probeCase struct {
	want []string // the findings, by name
	text string   // in the first of them
	// handle is the registry behind its login; nil serves everything. login is what
	// it wants without one: "bearer" (the default), "basic", or "none".
	handle func(w http.ResponseWriter, r *http.Request)
	login  string
	token  func(w http.ResponseWriter, r *http.Request) // instead of the token service
	realm  string                                       // of the challenge, if another
	// What the map and the node have.
	noCA, anonymous, noImage, noHosts, closed, logged bool
	password                                          string // of the plugin's answer
	plugin                                            string // the plugin's script, if another
	proxy                                             int    // status of a proxy in between
	prefix                                            string // of the target
	header                                            string // Authorization in hosts.toml
	limit                                             time.Duration
}

func reply(status int, body string, header ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func tokenFor(audience string, ends time.Time) string {
	claims := fmt.Sprintf(`{"aud":%q,"exp":%d}`, audience, ends.Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + "." + probeSecret
}

var probeCases = map[string]probeCase{
	"all is well":                      {},
	"all is well, with Basic":          {login: "basic"},
	"all is well, anonymous":           {login: "none", anonymous: true},
	"all is well, with a path":         {prefix: "/hub"},
	"a token for all":                  {anonymous: true},
	"the plugin fails":                 {want: []string{doctor.ProbeCredential}, text: "the plugin returns no credential: no identity", plugin: "echo no identity >&2; exit 1"},
	"a wrong password":                 {want: []string{doctor.ProbeUnauthorized}, text: "refuses the credential harbor", token: reply(401, "")},
	"a wrong password, Basic":          {want: []string{doctor.ProbeUnauthorized}, login: "basic", handle: reply(401, "")},
	"a token that has expired":         {want: []string{doctor.ProbeUnauthorized}, text: "its token expired on 2020-", password: tokenFor("", time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)), token: reply(401, "")},
	"a token of another":               {want: []string{doctor.ProbeAudience}, text: `its token is for "fabrikam.azurecr.io"`, password: tokenFor("fabrikam.azurecr.io", time.Now().Add(time.Hour)), token: reply(401, "")},
	"no role":                          {want: []string{doctor.ProbeForbidden}, text: "may not pull hub/oss/app", prefix: "/hub", handle: reply(401, "", "Www-Authenticate", `Bearer realm="https://x",error="insufficient_scope"`)},
	"no role, 403":                     {want: []string{doctor.ProbeForbidden}, handle: reply(403, "")},
	"the token service forbids":        {want: []string{doctor.ProbeForbidden}, token: reply(403, "")},
	"no repository":                    {want: []string{doctor.ProbeNotFound}, text: "the repository oss/app", handle: reply(404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)},
	"no tag":                           {want: []string{doctor.ProbeNotFound}, text: "oss/app:1", handle: reply(404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)},
	"no tag of the log's image":        {logged: true, handle: reply(404, `{"errors":[{"code":"MANIFEST_UNKNOWN"}]}`)},
	"no repository of the log":         {want: []string{doctor.ProbeNotFound}, logged: true, handle: reply(404, `{"errors":[{"code":"NAME_UNKNOWN"}]}`)},
	"no credential in the map":         {want: []string{doctor.ProbeNeedsCredential}, anonymous: true, login: "basic"},
	"no token without one":             {want: []string{doctor.ProbeNeedsCredential}, anonymous: true, token: reply(401, "")},
	"GitHub's token service":           {want: []string{doctor.ProbeScope}, prefix: "/hub", token: oneScope},
	"the source's realm":               {want: []string{doctor.ProbeRealm}, text: "auth.source.test", realm: "https://auth.source.test/token"},
	"a realm without TLS":              {want: []string{doctor.ProbeRealm}, text: "not encrypted", realm: "http://127.0.0.1:1/token"},
	"a realm elsewhere":                {want: []string{doctor.ProbeRealm}, text: "which is in another domain", realm: "https://tokens.elsewhere.test/token"},
	"a redirect":                       {handle: reply(307, "", "Location", "https://source.test/v2/")},
	"a credential in hosts.toml":       {header: rightHeader, login: "basic"},
	"one of hosts.toml is refused":     {want: []string{doctor.ProbeUnauthorized}, text: "it refuses the credential in hosts.toml", header: wrongHeader, login: "basic"},
	"one of hosts.toml may not pull":   {want: []string{doctor.ProbeForbidden}, text: "the credential in hosts.toml may not pull", header: rightHeader, login: "basic", handle: reply(403, "")},
	"one for a token service":          {header: rightHeader, login: "token", token: byHeader},
	"one that the service refuses":     {want: []string{doctor.ProbeUnauthorized}, text: "hosts.toml", header: wrongHeader, token: byHeader},
	"one for a service elsewhere":      {want: []string{doctor.ProbeRealm}, header: wrongHeader, realm: "https://tokens.elsewhere.test/token"},
	"storage on another port":          {want: []string{doctor.ProbeRedirect}, text: "https://127.0.0.1:1, and containerd sends", header: rightHeader, login: "basic", handle: storedAt("https://127.0.0.1:1/x", false)},
	"storage of an index":              {want: []string{doctor.ProbeRedirect}, header: rightHeader, login: "basic", handle: storedAt("https://127.0.0.1:1/x", true)},
	"storage over http":                {want: []string{doctor.ProbeRedirect}, header: rightHeader, login: "basic", handle: storedAt("http://HOST/x", false)},
	"storage after a token":            {want: []string{doctor.ProbeRedirect}, header: rightHeader, login: "token", token: byHeader, handle: storedAt("https://127.0.0.1:1/x", false)},
	"storage at another name":          {header: rightHeader, login: "basic", handle: storedAt("https://storage.test/x", false)},
	"storage in the registry":          {header: rightHeader, login: "basic", handle: storedAt("/x", true)},
	"storage at the registry":          {header: rightHeader, login: "basic", handle: storedAt("https://HOST/x", false)},
	"storage, and a plugin's password": {login: "basic", handle: storedAt("https://127.0.0.1:1/x", false)},
	"a body without end": {want: []string{doctor.ProbeLimited}, noImage: true, handle: func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}},
	"an unknown CA":             {want: []string{doctor.ProbeTLS}, text: "a CA that this node does not know", noCA: true},
	"nothing listens":           {want: []string{doctor.ProbeRefused}, text: "connection refused", closed: true},
	"it hangs":                  {want: []string{doctor.ProbeTimeout}, login: "none", limit: 200 * time.Millisecond, handle: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	"a proxy forbids":           {want: []string{doctor.ProbeProxy}, text: "403 Forbidden", proxy: 403},
	"a proxy wants a login":     {want: []string{doctor.ProbeProxy}, text: "407", proxy: 407},
	"a clock that is wrong":     {want: []string{doctor.ProbeClock}, text: "ahead of", login: "none", handle: reply(200, "", "Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))},
	"too many requests":         {want: []string{doctor.ProbeThrottled}, text: "Retry-After: 30", handle: reply(429, "", "Retry-After", "30")},
	"the registry is down":      {want: []string{doctor.ProbeServerError}, text: "503", handle: reply(503, "")},
	"the token service is down": {want: []string{doctor.ProbeServerError}, token: reply(500, "")},
	"a page":                    {want: []string{doctor.ProbeNotARegistry, doctor.ProbeLimited}, noImage: true, login: "none", handle: reply(200, "<html>", "Content-Type", "text/html")},
	"no API":                    {want: []string{doctor.ProbeNotARegistry, doctor.ProbeLimited}, noImage: true, login: "none", handle: reply(404, "")},
	"a login of another kind":   {want: []string{doctor.ProbeNotARegistry}, login: "Negotiate"},
	"no image is known":         {want: []string{doctor.ProbeLimited}, noImage: true},
	"no hosts.toml":             {want: []string{doctor.ProbeSkipped}, noHosts: true},
}

// rightHeader is what the registry accepts in hosts.toml, and wrongHeader what it refuses.
var (
	rightHeader = "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+probeSecret))
	wrongHeader = "Basic " + base64.StdEncoding.EncodeToString([]byte("user:CANARY-wrong"))
)

// storedAt serves an image whose layers are elsewhere. Its manifest is behind an index if
// it has more platforms.
func storedAt(location string, platforms bool) func(w http.ResponseWriter, r *http.Request) {
	config := "sha256:" + strings.Repeat("a", 64)
	return func(w http.ResponseWriter, r *http.Request) {
		_, rest, _ := strings.Cut(r.URL.Path, "/v2/oss/app/")
		switch {
		case r.Method == http.MethodHead:
		case rest == "manifests/1" && platforms:
			fmt.Fprintf(w, `{"manifests":[{"digest":"sha256:%s"}]}`, strings.Repeat("b", 64))
		case strings.HasPrefix(rest, "manifests/"):
			fmt.Fprintf(w, `{"config":{"digest":%q},"layers":[]}`, config)
		case rest == "blobs/"+config:
			w.Header().Set("Location", strings.ReplaceAll(location, "HOST", r.Host))
			w.WriteHeader(307)
		default:
			w.WriteHeader(500)
		}
	}
}

// byHeader is a token service that accepts the header of hosts.toml.
func byHeader(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != rightHeader {
		w.WriteHeader(401)
		return
	}
	fmt.Fprint(w, `{"token":"t"}`)
}

// oneScope is a token service that grants a request for one repository only.
func oneScope(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	if len(strings.Fields(strings.Join(r.Form["scope"], " "))) > 1 {
		w.WriteHeader(403)
		return
	}
	fmt.Fprint(w, `{"token":"t"}`)
}

// TestProbe asks a registry with each fault, and wants the finding that names it and
// no other. The source is never asked, nothing is asked twice at a time, and no
// finding holds the password.
func TestProbe(t *testing.T) {
	for name, c := range probeCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newProbeNode(t, c)
			found := n.probe()
			var names []string
			for _, f := range found {
				names = append(names, f.Name)
				if f.Repair == "" || f.Where == "" {
					t.Errorf("%s says neither where nor what to do: %s", f.Name, f)
				}
			}
			text := fmt.Sprint(found)
			if !slices.Equal(names, c.want) || !strings.Contains(text, c.text) {
				t.Errorf("found %q\nwant %q with %q", text, c.want, c.text)
			}
			if strings.Contains(text, "CANARY") {
				t.Errorf("a finding holds the password: %s", text)
			}
			if n.most.Load() > 1 || n.source.Load() > 0 {
				t.Errorf("%d requests at a time, %d to the source; want 1 and 0", n.most.Load(), n.source.Load())
			}
		})
	}
}

// TestProbeNames holds that each name has a case.
func TestProbeNames(t *testing.T) {
	source, err := os.ReadFile("../internal/doctor/probe.go")
	if err != nil {
		t.Fatal(err)
	}
	cases := []string{doctor.ProbeDNS} // a test asks no name server: TestProbeFailures
	for _, c := range probeCases {
		cases = append(cases, c.want...)
	}
	for line := range strings.Lines(string(source)) {
		if _, value, ok := strings.Cut(line, `= "`); ok && !slices.Contains(cases, strings.TrimSuffix(strings.TrimSpace(value), `"`)) {
			t.Errorf("no case for %s", strings.TrimSpace(line))
		}
	}
}

// A probeNode is a node with one mirror, of source.test, and its registry.
type probeNode struct {
	*testing.T
	probeCase
	root      string
	registry  *httptest.Server
	now, most atomic.Int64 // requests at the registry
	source    atomic.Int64 // requests at the source
}

func newProbeNode(t *testing.T, c probeCase) *probeNode {
	t.Helper()
	n := &probeNode{T: t, probeCase: c, root: t.TempDir()}
	n.registry = httptest.NewTLSServer(http.HandlerFunc(n.serve))
	t.Cleanup(n.registry.Close)
	target := strings.TrimPrefix(n.registry.URL, "https://")
	n.write("etc/ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.registry.Certificate().Raw})))
	n.write("etc/harbor.json", `{"auths":{"`+target+`":{"auth":"dTpw"}}}`)
	text := "version = 1\n[[mirror]]\nsource = \"source.test\"\ntargets = [\"" + target + c.prefix + "\"]\n[registry.\"" + target + "\"]\n"
	if !c.noCA {
		text += "ca = \"/etc/ca.pem\"\n"
	}
	if c.header != "" {
		n.write("etc/harbor.header", c.header)
		text += "header = { Authorization = { file = \"/etc/harbor.header\" } }\n"
	}
	if !c.anonymous && c.header == "" {
		text += "credential = \"harbor\"\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/harbor.json\"\n"
	}
	n.write("etc/mirrorcred/mirrors.toml", text)
	if err := newRoot(n.root); err != nil {
		t.Fatal(err)
	}
	script := c.plugin
	if script == "" {
		password := c.password
		if password == "" {
			password = probeSecret
		}
		script = `echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","auth":{"source.test":{"username":"user","password":"` + password + `"},"` + target + `":{"username":"user","password":"` + password + `"}}}'`
	}
	n.write("var/lib/kubelet/credential-provider/mirror-credential-provider", "#!/bin/sh\ncat >/dev/null\n"+script+"\n")
	var out strings.Builder
	if err := run(t.Context(), []string{"apply", "--root", n.root}, &out); err != nil {
		t.Fatalf("apply: %v\n%s", err, out.String())
	}
	if !strings.Contains(out.String(), "created") {
		t.Fatalf("apply: %s", out.String())
	}
	if c.noHosts {
		if err := os.RemoveAll(filepath.Join(n.root, "etc/containerd/certs.d/source.test")); err != nil {
			t.Fatal(err)
		}
	}
	if c.closed {
		n.registry.Close()
	}
	return n
}

func (n *probeNode) write(name, text string) {
	n.Helper()
	path := filepath.Join(n.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.Fatal(err)
	}
	mode := os.FileMode(0o600)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		n.Fatal(err)
	}
}

// probe asks as "mirrorcred check --probe" does.
func (n *probeNode) probe() []doctor.Finding {
	n.Helper()
	m, place, err := readPlace(n.root, "")
	if err != nil {
		n.Fatal(err)
	}
	p := &probe.Prober{Mirrors: m, Place: place, Log: filepath.Join(n.root, "plugin.jsonl"), Limit: n.limit,
		Runner: provider.Runner{Root: n.root, BinDir: m.Kubelet.BinDir}}
	if n.proxy != 0 {
		proxy := httptest.NewServer(http.HandlerFunc(reply(n.proxy, "")))
		n.Cleanup(proxy.Close)
		address, _ := url.Parse(proxy.URL)
		p.Proxy = func(*http.Request) (*url.URL, error) { return address, nil }
	}
	image, err := mirror.ParseImage("source.test/oss/app:1")
	if err != nil {
		n.Fatal(err)
	}
	switch {
	case n.noImage:
		return p.All(n.Context())
	case n.logged:
		for _, name := range []string{"source.test/oss/app", "source.test/mirrorcred-probe"} {
			if err := audit.Append(p.Log, audit.Event{Time: audit.Time{Time: time.Now()}, Image: name, Source: "source.test", Outcome: audit.Answered}); err != nil {
				n.Fatal(err)
			}
		}
		return p.All(n.Context())
	}
	return p.Image(n.Context(), image)
}

// serve is the registry and its token service.
func (n *probeNode) serve(w http.ResponseWriter, r *http.Request) {
	now := n.now.Add(1)
	defer n.now.Add(-1)
	n.most.Store(max(n.most.Load(), now))
	if strings.Contains(r.Host, "source") {
		n.source.Add(1)
	}
	if r.URL.Path == "/token" {
		n.grant(w, r)
		return
	}
	user, password, isBasic := r.BasicAuth()
	wanted := n.password
	if wanted == "" {
		wanted = probeSecret
	}
	in := r.Header.Get("Authorization") == "Bearer t" || isBasic && n.login != "token" && user == "user" && password == wanted
	if !in && n.login != "none" {
		challenge := map[string]string{
			"":      `Bearer realm="` + n.registry.URL + `/token",service="registry",scope="repository:` + strings.TrimPrefix(n.prefix+"/oss/app", "/") + `:pull"`,
			"token": `Bearer realm="` + n.registry.URL + `/token",service="registry"`,
			"basic": `Basic realm="registry"`, "Negotiate": "Negotiate",
		}[n.login]
		if n.realm != "" {
			challenge = `Bearer realm="` + n.realm + `",service="registry"`
		}
		w.Header().Set("Www-Authenticate", challenge)
		w.WriteHeader(401)
		return
	}
	if n.handle != nil {
		n.handle(w, r)
		return
	}
	want, method := "/v2"+n.prefix+"/oss/app/manifests/1", http.MethodHead
	if n.noImage {
		want, method = "/v2/", http.MethodGet
	}
	if r.URL.Path != want || r.Method != method || !n.noImage && r.URL.Query().Get("ns") != "source.test" {
		w.WriteHeader(500) // it does not ask as containerd does
	}
}

// grant is the token service, which wants the password as containerd sends it.
func (n *probeNode) grant(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	switch {
	case n.token != nil:
		n.token(w, r)
	case n.anonymous, r.Method == http.MethodPost && r.Form.Get("grant_type") == "password" && r.Form.Get("password") == probeSecret:
		_ = json.NewEncoder(w).Encode(map[string]string{"token": "t"})
	default:
		w.WriteHeader(401)
	}
}
