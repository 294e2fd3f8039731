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
		{"[::1]", "[::1]/x", ""},
		{"[::1]:5000", "[::1]:5000/x", "[::1]:5000"},
		{"a.io%zz a.io", "a.io/x", "a.io"},
		{"a[.io a.io", "a.io/x", "a.io"},
		{"https://a.io a.io", "a.io/x", "a.io"}, // one key to the kubelet: the first as sorted
	} {
		auth := map[string]Credential{}
		for key := range strings.FieldsSeq(tt.keys) {
			auth[key] = Credential{Username: key}
		}
		got, ok := Lookup(auth, tt.image)
		if got.Username != tt.want || ok != (tt.want != "") {
			t.Errorf("Lookup(%s, %s) = %q, %v; want %q", tt.keys, tt.image, got.Username, ok, tt.want)
		}
	}
}
