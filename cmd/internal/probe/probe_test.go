package probe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	neturl "net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/explain"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestProbeFailures names errors that a test on loopback cannot make, as net/http
// returns them.
func TestProbeFailures(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	expired := func(from, to time.Time) error {
		return &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Cert: &x509.Certificate{NotBefore: from, NotAfter: to}, Reason: x509.Expired}}
	}
	for name, tt := range map[string]struct {
		err  error
		want string
	}{
		"no such name":         {&net.OpError{Op: "dial", Err: &net.DNSError{Name: "contoso.azurecr.io", Err: "no such host", IsNotFound: true}}, doctor.ProbeDNS},
		"not valid yet":        {expired(now.Add(time.Hour), now.Add(2*time.Hour)), doctor.ProbeClock},
		"ended":                {expired(now.Add(-2*time.Hour), now.Add(-time.Hour)), doctor.ProbeTLS},
		"another name":         {&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "a"}}, doctor.ProbeTLS},
		"no TLS":               {tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, doctor.ProbeTLS},
		"a client certificate": {tls.AlertError(42), doctor.ProbeTLS},
		"no route":             {&net.OpError{Op: "dial", Err: syscall.EHOSTUNREACH}, doctor.ProbeRefused},
		"no proxy":             {&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}, doctor.ProbeProxy},
		"something else":       {errors.New("unexpected EOF"), doctor.ProbeServerError},
	} {
		f := judgeFailure("https://contoso.azurecr.io", &neturl.Error{Op: "Head", URL: "https://contoso.azurecr.io/?token=CANARY", Err: tt.err}, now)
		if f.Name != tt.want || f.Repair == "" || f.Text == "" {
			t.Errorf("%s: judgeFailure = %+v; want %s", name, f, tt.want)
		}
		if s := fmt.Sprint(f); len(s) > 300 || strings.Contains(s, "CANARY") {
			t.Errorf("%s: %s", name, s)
		}
	}
}

func TestChallenges(t *testing.T) {
	for text, want := range map[string]challenge{
		`Bearer realm="https://a/token",service="a",scope="repository:x:pull"`: {"bearer", map[string]string{"realm": "https://a/token", "service": "a", "scope": "repository:x:pull"}},
		`Bearer realm="https://a/token", error="insufficient_scope"`:           {"bearer", map[string]string{"realm": "https://a/token", "error": "insufficient_scope"}},
		`BASIC Realm=registry`: {"basic", map[string]string{"realm": "registry"}},
		`Negotiate`:            {"negotiate", map[string]string{}},
		`Bearer realm="open`:   {"bearer", map[string]string{"realm": "open"}},
		``:                     {"", map[string]string{}},
		`Bearer ,,=,"`:         {"bearer", map[string]string{"": ""}},
	} {
		got := challenges(http.Header{"Www-Authenticate": {text}})
		if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
			t.Errorf("challenges(%q) = %q; want %q", text, got, want)
		}
	}
}

// TestSameOwner tells the token services that belong to a registry from others.
func TestSameOwner(t *testing.T) {
	for realm, registries := range map[string]map[string]bool{
		"auth.docker.io":        {"registry-1.docker.io": true, "contoso.azurecr.io": false},
		"gitlab.corp.example":   {"registry.corp.example:5050": true, "gitlab.corp.example.": false, "corp.test": false},
		"evil.co.uk":            {"registry.co.uk": false, "good.co.uk": false},
		"Contoso.azurecr.io":    {"contoso.azurecr.io:443": true},
		"10.0.0.5":              {"10.0.0.5:5000": true, "11.0.0.5": false, "9.0.0.5:443": false},
		"::1":                   {"[::1]:5000": true, "[::2]:5000": false},
		"localhost":             {"localhost:5000": true, "registry": false},
		"harbor":                {"harbor:443": true, "harbor2": false},
		"docker.io.evil.test":   {"registry-1.docker.io": false},
		"evil.test:x@docker.io": {"registry-1.docker.io": false},
	} {
		for registry, want := range registries {
			if got := sameOwner(realm, registry); got != want {
				t.Errorf("sameOwner(%q, %q) = %t; want %t", realm, registry, got, want)
			}
		}
	}
}

// FuzzChallenges holds that no header stops the parser.
func FuzzChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://a/token",service="a"`)
	f.Fuzz(func(t *testing.T, text string) { challenges(http.Header{"Www-Authenticate": {text}}) })
}

// TestStock holds that a stock plugin is run too, which answers without routes.
func TestStock(t *testing.T) {
	m, err := mirror.Parse("", []byte("version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"contoso.azurecr.io\"]\n[kubelet]\nplugin = \"acr-credential-provider\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	image, err := mirror.ParseImage("mcr.microsoft.com/x:1")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	script := "#!/bin/sh\ncat >/dev/null\necho '" + `{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","auth":{"mcr.microsoft.com":{"username":"u","password":"CANARY"}}}` + "'\n"
	if err := os.WriteFile(filepath.Join(root, "acr-credential-provider"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	seen := explain.Observed{Providers: []kubeletconfig.Entry{{Provider: kubeletconfig.Provider{Name: "acr-credential-provider", MatchImages: []string{"mcr.microsoft.com"}}}}}
	p := &Prober{Mirrors: m, Runner: provider.Runner{Root: root, BinDir: "/"}}
	found := p.credentials(t.Context(), aim{mirror: m.Mirrors[0], image: image}, seen, explain.Explanation{})
	r := found["contoso.azurecr.io"]
	if len(found) != 1 || r == nil || !r.wanted || len(r.logins) != 1 || r.logins[0].Username != "u" || r.logins[0].name != "azure" || len(p.found) != 0 {
		t.Errorf("the registries are %v, found %v", found, p.found)
	}
}

// roundTrip is a transport that a test makes up.
type roundTrip func(*http.Request) *http.Response

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

// TestKeepsCredential compares what is predicted for redirects with Go's own client,
// which containerd uses.
func TestKeepsCredential(t *testing.T) {
	for from, list := range map[string][]string{
		"https://harbor.corp/v2/x": {
			"https://harbor.corp:9000/x", "https://harbor.corp/x", "https://harbor.corp:443/x", "https://Harbor.corp/x", "http://harbor.corp/x", "http://harbor.corp:443/x",
			"https://s3.harbor.corp/x", "https://s3.corp/x", "https://notharbor.corp/x", "https://corp/x", "https://harbor.corp.evil.test/x",
		},
		"https://10.0.0.5:5000/v2/x":   {"https://10.0.0.5:9000/x", "https://10.0.0.6:5000/x", "http://10.0.0.5:5000/x"},
		"https://[2001:db8::1]:5000/x": {"https://[2001:db8::1]:9000/x", "https://[2001:db8::2]:5000/x"},
	} {
		for _, to := range list {
			kept := false
			client := &http.Client{Transport: roundTrip(func(r *http.Request) *http.Response {
				a := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody, Request: r}
				if r.URL.String() == from {
					a.StatusCode = 307
					a.Header.Set("Location", to)
				} else {
					kept = r.Header.Get("Authorization") != ""
				}
				return a
			})}
			r, err := http.NewRequest(http.MethodGet, from, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Basic CANARY")
			if _, err := client.Do(r); err != nil {
				t.Fatal(err)
			}
			target, err := neturl.Parse(to)
			if err != nil {
				t.Fatal(err)
			}
			isSame := r.URL.Scheme == target.Scheme && port(r.URL) == port(target) && strings.EqualFold(r.URL.Hostname(), target.Hostname())
			if got := keepsCredential(r.URL, target); got != (kept && !isSame) {
				t.Errorf("from %s to %s: keepsCredential = %t; Go sends it: %t", from, to, got, kept)
			}
		}
	}
}

// TestLastPulled finds the image of a mirror in the plugin's log, which has no answer for a
// credential that is in hosts.toml.
func TestLastPulled(t *testing.T) {
	m, err := mirror.Parse("", []byte(`version = 1
[[mirror]]
source = "quay.io"
targets = ["harbor.corp"]
[[mirror]]
source = "ghcr.io"
targets = ["other.corp"]
[registry."harbor.corp"]
credential = "robot"
deliver = "hosts"
[credential.robot]
kind = "docker-config"
path = "/robot.json"
`))
	if err != nil {
		t.Fatal(err)
	}
	for outcome, want := range map[audit.Outcome][2]bool{
		audit.Answered: {true, true}, audit.Empty: {true, false}, audit.Refused: {false, false}, audit.Failed: {false, false},
	} {
		p := &Prober{Mirrors: m, Log: filepath.Join(t.TempDir(), "plugin.jsonl")}
		for _, source := range []string{"quay.io", "ghcr.io"} {
			if err := audit.Append(p.Log, audit.Event{Time: audit.Time{Time: time.Now()}, Image: source + "/app", Source: source, Outcome: outcome}); err != nil {
				t.Fatal(err)
			}
		}
		last := p.lastPulled()
		_, hosts := last["quay.io"]
		_, kubelet := last["ghcr.io"]
		if got := [2]bool{hosts, kubelet}; got != want {
			t.Errorf("%s: by hosts.toml and by the kubelet: %t; want %t", outcome, got, want)
		}
	}
}
