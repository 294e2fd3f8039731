package credential

import (
	"strings"
	"testing"
)

// TestLookup holds the rules of the kubelet's keyring, Kubernetes v1.37.0,
// pkg/credentialprovider/keyring.go.
func TestLookup(t *testing.T) {
	for _, tt := range []struct{ keys, image, want string }{
		{"a.io", "a.io/x", "a.io"},
		{"a.io", "b.io/x", ""},
		{"", "a.io/x", ""},
		{"*.io", "a.io/x", "*.io"},
		{"*.io", "a.b.io/x", ""},
		{"*.*.io", "a.b.io/x", "*.*.io"},
		{"con*.azurecr.*", "contoso.azurecr.cn/x", "con*.azurecr.*"},
		{"*.io a.io", "a.io/x", "a.io"},
		{"a.io a.io/team", "a.io/team/x", "a.io/team"},
		{"a.io/team", "a.io/teamx/app", "a.io/team"},
		{"a.io/team/", "a.io/teamx/app", ""},
		{"a.io/a a.io/b", "a.io/b/x", "a.io/b"},
		{"a.io:5000", "a.io:5000/x", "a.io:5000"},
		{"a.io:5000", "a.io/x", ""},
		{"a.io", "a.io:5000/x", ""},
		{"a.io:*", "a.io:5000/x", ""},
		{"A.io", "a.io/x", ""},
		{"https://a.io", "a.io/x", "https://a.io"},
		{"http://a.io/", "a.io/x", "http://a.io/"},
		{"HTTPS://a.io", "a.io/x", ""},
		{"https://a.io/v1/", "a.io/x", "https://a.io/v1/"},
		{"a.io/v2/team", "a.io/team/x", "a.io/v2/team"},
		{"a.io/v2", "a.io/x", ""},
		{"a.io/v2/v2/x", "a.io/v2/x", "a.io/v2/v2/x"},
		{"https://index.docker.io/v1/", "docker.io/library/nginx", "https://index.docker.io/v1/"},
		{"https://index.docker.io/v1/ docker.io", "docker.io/library/nginx", "docker.io"},
		{"https://index.docker.io/v1/", "registry-1.docker.io/library/nginx", ""},
		{"index.docker.io/library", "docker.io/library/nginx", ""},
		{"[::1]", "[::1]/x", "[::1]"}, // the kubelet never matches it, but the registry is clear
		{"index.docker.io:443", "docker.io/library/nginx", "index.docker.io:443"},
		{"[::1]:5000", "[::1]:5000/x", "[::1]:5000"},
		{"a.io%zz a.io", "a.io/x", "a.io"},
		{"a[.io a.io", "a.io/x", "a.io"},
		{"https://a.io a.io", "a.io/x", "a.io"}, // one key to the kubelet: the first as sorted
	} {
		auth := map[string]Credential{}
		for key := range strings.FieldsSeq(tt.keys) {
			auth[key] = Credential{Username: key}
		}
		got, ok := Lookup(auth, tt.image, false)
		if got.Username != tt.want || ok != (tt.want != "") {
			t.Errorf("Lookup(%s, %s) = %q, %v; want %q", tt.keys, tt.image, got.Username, ok, tt.want)
		}
	}
}

// TestLookupPort checks that a provider may name the default port of a registry
// or leave it out, and that the key which the kubelet would take comes first.
func TestLookupPort(t *testing.T) {
	for _, tt := range []struct {
		keys, image string
		plain       bool
		want        string
	}{
		{"a.io:443", "a.io/x", false, "a.io:443"},
		{"a.io", "a.io:443/x", false, "a.io"},
		{"https://a.io:443/v2/team", "a.io/team/x", false, "https://a.io:443/v2/team"},
		{"*.io:443", "a.io/x", false, "*.io:443"},
		{"*.io:443", "a.b.io/x", false, ""},
		{"a.io:443/team a.io", "a.io/team/x", false, "a.io"},
		{"a.io:80", "a.io/x", false, ""},
		{"a.io:80", "a.io/x", true, "a.io:80"},
		{"a.io:443", "a.io/x", true, ""},
		{"a.io:8443", "a.io/x", false, ""},
		{"[::1]:443", "[::1]/x", false, "[::1]:443"},
	} {
		auth := map[string]Credential{}
		for key := range strings.FieldsSeq(tt.keys) {
			auth[key] = Credential{Username: key}
		}
		if got, _ := Lookup(auth, tt.image, tt.plain); got.Username != tt.want {
			t.Errorf("Lookup(%s, %s, %v) = %q; want %q", tt.keys, tt.image, tt.plain, got.Username, tt.want)
		}
	}
}

// TestAttempts holds the order in which the kubelet tries the answers of several
// providers: by their keys, and equal keys by the order of the providers.
func TestAttempts(t *testing.T) {
	c := func(name string) Credential {
		return Credential{Username: name, Password: "p"}
	}
	type auth = map[string]Credential
	for name, tt := range map[string]struct {
		answers []auth
		image   string
		want    string
	}{
		"none":              {nil, "a.io/x", ""},
		"another registry":  {[]auth{{"b.io": c("1")}}, "a.io/x", ""},
		"longest first":     {[]auth{{"a.io": c("1"), "a.io/x": c("2")}}, "a.io/x", "2 1 "},
		"across providers":  {[]auth{{"a.io": c("1")}, {"a.io/x": c("2")}}, "a.io/x", "2 1 "},
		"order":             {[]auth{{"a.io": c("1")}, {"https://a.io": c("2")}}, "a.io/x", "1 2 "},
		"once":              {[]auth{{"a.io": c("1")}, {"a.io": c("1")}}, "a.io/x", "1 "},
		"anonymous attempt": {[]auth{{"a.io/x": c("1"), "a.io": {}}}, "a.io/x", "1  "},
		"Docker Hub":        {[]auth{{"index.docker.io": c("1")}}, "docker.io/library/x", "1 "},
		"a key of its own":  {[]auth{{"index.docker.io": c("1"), "docker.io": c("2")}}, "docker.io/library/x", "2 "},
	} {
		got := ""
		for _, one := range Attempts(tt.answers, tt.image) {
			got += one.Username + " "
		}
		if got != tt.want {
			t.Errorf("%s: Attempts = %q; want %q", name, got, tt.want)
		}
	}
}
