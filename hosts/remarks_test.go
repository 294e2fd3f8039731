package hosts

import (
	"slices"
	"strings"
	"testing"
)

// TestRemarks checks the remarks about a hosts.toml. Each case is one thing, and
// there is no other remark about it.
func TestRemarks(t *testing.T) {
	for _, tt := range []struct {
		name, version, text string
		want                []string // names with lines
	}{
		{"nothing", "2.4", "server = \"https://m\"\n[host]\n", nil},
		{"empty", "2.4", "", nil},
		{"a mirror and the source", "2.4", "server = \"https://quay.io\"\n[host.\"https://m\"]\ncapabilities = [\"pull\"]\n", nil},
		{"a prefix", "2.4", "[host.\"https://m/v2/p\"]\noverride_path = true\n", nil},
		{"Nexus", "2.4", "[host.\"https://m/repository/p\"]\n", nil},
		{"Artifactory", "2.4", "[host.\"https://m/artifactory/api/docker/p/v2\"]\noverride_path = true\n", nil},
		{"no TOML", "2.4", "server: x\n", []string{"not-parsed:1"}},
		{"a wrong type", "2.4", "server = 1\n", []string{"not-parsed:1"}},
		{"a byte order mark", "2.4", "\ufeffserver = \"https://m\"\n", []string{"bom:1"}},
		{"a byte order mark for 1.7", "1.7", "\ufeffserver = \"https://m\"\n", nil},
		{"a table twice", "2.4", "[host.\"https://m\"]\n[host.\"https://m\"]\n", []string{"duplicate-host:2"}},
		{"a capability", "2.4", "server = \"https://m\"\ncapabilities = [\"fetch\"]\n", []string{"unknown-capability:2"}},
		{"referrers", "2.1", "server = \"https://m\"\ncapabilities = [\"pull\", \"referrers\"]\n", []string{"referrers-too-early:2"}},
		{"referrers in time", "2.2", "server = \"https://m\"\ncapabilities = [\"pull\", \"referrers\"]\n", nil},
		{"server alone", "1.7.31", "server = \"https://m\"\n", []string{"server-only-too-early:0"}},
		{"server alone in time", "1.7.35", "server = \"https://m\"\n", nil},
		{"server behind a table", "2.4", "[host.\"https://m\"]\ncapabilities = [\"pull\"]\nserver = \"https://m\"\n", []string{"key-after-table:3"}},
		{"rewrite", "2.4", "[host.\"https://m\"]\n[host.\"https://m\".rewrite]\n\"(.*)\" = \"x/$1\"\n", []string{"rewrite-unknown:2"}},
		{"another key", "2.4", "servers = \"x\"\n[host.\"https://m\"]\ncapability = [\"pull\"]\n", []string{"key-unknown:1", "key-unknown:3"}},
		{"a dotted table", "2.4", "host.\"https://m\".capabilities = [\"pull\"]\n", []string{"dotted-table-dropped:1"}},
		{"a dotted table for 1.7", "1.7", "host.\"https://m\".capabilities = [\"pull\"]\n", nil},
		{"an inline table", "2.4", "[host]\n\"https://m\" = { skip_verify = true }\n", []string{"dotted-table-dropped:2"}},
		{"no scheme", "2.4", "[host.\"m:5000\"]\n", []string{"no-scheme:1"}},
		{"a host like a scheme", "2.4", "[host.\"httpbin.example.com\"]\n", []string{"http-prefixed-host:1"}},
		{"a server like a scheme", "2.4", "server = \"http.corp\"\n", []string{"http-prefixed-host:1"}},
		{"a slash", "2.4", "[host.\"https://m/p/\"]\n", []string{"trailing-path:1"}},
		{"a lone slash", "2.4", "[host.\"https://m/\"]\n", nil},
		{"the API twice", "2.4", "server = \"https://m/v2/p\"\n", []string{"override-path-missing:1"}},
		{"no API", "2.4", "[host.\"https://m/artifactory/api/docker/p\"]\noverride_path = true\n", []string{"artifactory-path-without-v2:1"}},
		{"no API and no path", "2.4", "[host.\"https://m\"]\noverride_path = true\n", []string{"artifactory-path-without-v2:1"}},
		{"TLS on http", "2.4", "[host.\"http://m:5000\"]\nskip_verify = false\n", []string{"http-with-tls-keys:1"}},
		{"TLS on http at its port", "2.4", "[host.\"http://m:80\"]\nskip_verify = true\n", nil},
		{"a flat pair", "2.4", "[host.\"https://m\"]\nclient = [\"/c.pem\", \"/c.key\"]\n", []string{"client-flat-pair:1"}},
		{"two files", "2.4", "[host.\"https://m\"]\nclient = [\"/a.pem\", \"/b.pem\"]\n", nil},
		{"two paths on one host", "2.4", "[host.\"https://m/v2/a\"]\noverride_path = true\n[host.\"https://m/v2/b\"]\noverride_path = true\n", []string{"two-targets-one-host:3"}},
		{"the server's host again", "2.4", "server = \"https://m\"\n[host.\"https://m/r\"]\n", []string{"two-targets-one-host:1"}},
		{"a secret for the source", "2.4", "[header]\nAuthorization = \"CANARY\"\n[host.\"https://m\"]\n", []string{"root-header-without-server:2"}},
		{"a harmless header for the source", "2.4", "[header]\nUser-Agent = \"x\"\n[host.\"https://m\"]\n", nil},
		{"a secret for the server", "2.4", "server = \"https://m\"\n[header]\nAuthorization = \"CANARY\"\n", nil},
		{"a password in an address", "2.4", "[host.\"user:CANARY@m\"]\n", []string{"no-scheme:1"}},
	} {
		var got []string
		for _, r := range Remarks([]byte(tt.text), mustVersion(tt.version)) {
			got = append(got, r.Name+":"+digits(r.Line))
			if r.Text == "" || r.Repair == "" || strings.Contains(r.Text+r.Repair, "CANARY") {
				t.Errorf("%s: the remark is %+v", tt.name, r)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: Remarks = %q; want %q", tt.name, got, tt.want)
		}
	}
}

func digits(n int) string { return string(rune('0' + n)) }
