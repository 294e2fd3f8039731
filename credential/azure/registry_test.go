package azure

import (
	"crypto/tls"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

func TestExpiry(t *testing.T) {
	for payload, want := range map[string]time.Time{
		`{"exp":1700000000}`:   time.Unix(1700000000, 0),
		`{"exp":1700000000.5}`: time.Unix(1700000000, 0),
		`{"exp":1.7e9}`:        time.Unix(1700000000, 0),
		`{}`:                   {},
		`{"exp":0}`:            {},
		`{"exp":-1}`:           {},
		`{"exp":1e300}`:        {},
		`{"exp":1e999}`:        {},
		`{"exp":"1700000000"}`: {},
		`[]`:                   {},
		``:                     {},
	} {
		token := "h." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".s"
		if got := expiry(credential.Secret(token)); !got.Equal(want) {
			t.Errorf("expiry of %s = %v; want %v", payload, got, want)
		}
	}
	for _, token := range []string{"", "opaque", "a.b", "..", "a.!.c", "a.b.c.d"} {
		if got := expiry(credential.Secret(token)); !got.IsZero() {
			t.Errorf("expiry(%q) = %v; want none", token, got)
		}
	}
}

func TestNames(t *testing.T) {
	for _, test := range []struct {
		host, service string
		want          bool
	}{
		{"foo.azurecr.io", "foo.azurecr.io", true},
		{"foo.azurecr.io:443", "FOO.azurecr.io", true},
		{"foo.azurecr.io", "bar.azurecr.io", false},
		{"foo.azurecr.io", "foo.azurecr.cn", false},
		{"foo.azurecr.io", "", false},
		{"foo-abc.eastus2.geo.azurecr.io", "foo-abc.eastus2.geo.azurecr.io", true},
		{"foo-abc.eastus2.geo.azurecr.io", "foo-abc.azurecr.io", true},
		{"foo-abc.eastus2.geo.azurecr.io", "foo.azurecr.io", false},
		{"foo.azurecr.io", "foo.eastus2.geo.azurecr.io", false},
	} {
		host, err := mirror.ParseHost(test.host)
		if err != nil {
			t.Fatal(err)
		}
		if got := (registry{host: host}).names(test.service); got != test.want {
			t.Errorf("%s names %q = %t; want %t", test.host, test.service, got, test.want)
		}
	}
}

func TestIsSignIn(t *testing.T) {
	for host, want := range map[string]bool{
		"login.microsoftonline.com": true, "login.microsoftonline.us": true, "login.chinacloudapi.cn": true, "login.partner.microsoftonline.cn": true, "westus2.login.microsoft.com": true,
		"": false, "evil.example": false, "evillogin.microsoftonline.com": false, "login.microsoftonline.com.evil.example": false,
		"login.microsoftonline.com:444": false, "westus2.login.microsoft.com:444": false, "evil-login.microsoft.com": false,
	} {
		if got := isSignIn(host); got != want {
			t.Errorf("isSignIn(%q) = %t", host, got)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "7": 7 * time.Second, "65535": 65535 * time.Second, "": -1, "-1": -1, "1.5": -1, "99999999999": -1, "soon": -1,
		time.Now().Add(time.Hour).UTC().Format(http.TimeFormat): time.Hour,
	} {
		got, ok := retryAfter(text)
		if ok != (want >= 0) || ok && (got > want || want-got > time.Minute) {
			t.Errorf("retryAfter(%q) = %s, %t; want %s", text, got, ok, want)
		}
	}
}

func TestScrub(t *testing.T) {
	s := startStep("step", "host", "p ss", "")
	for text, want := range map[string]string{
		"":                                   "",
		"one\r\ntwo":                         "one",
		"\n\n a\tb\x1b[31m ":                 "a b [31m",
		"the p ss and p+ss":                  "the [secret] and [secret]",
		"a " + strings.Repeat("x", 73):       "a […]",
		strings.Repeat("word ", 50):          strings.Repeat("word ", 40) + "…",
		strings.Repeat("é ", 80):             strings.Repeat("é ", 66) + "é…",
		"https://contoso.azurecr.io/ is not": "https://contoso.azurecr.io/ is not",
	} {
		if got := s.scrub(text); strings.TrimRight(got, " ") != want && got != want {
			t.Errorf("scrub(%q) = %q; want %q", text, got, want)
		}
	}
}

// TestClient checks what no stand-in can show: TLS is 1.2 at least, and the
// metadata service has no proxy.
func TestClient(t *testing.T) {
	transport := Options{}.withDefaults().client(noProxy).Transport.(*http.Transport)
	if got := transport.TLSClientConfig.MinVersion; got < tls.VersionTLS12 {
		t.Errorf("the least TLS version is %x; want 1.2", got)
	}
	if transport.TLSClientConfig.InsecureSkipVerify {
		t.Error("certificates are not verified")
	}
	req, err := http.NewRequest("GET", "http://169.254.169.254/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := transport.Proxy(req); proxy != nil || err != nil {
		t.Errorf("the proxy of the metadata service is %v, %v; want none", proxy, err)
	}
}
