package mirror

import (
	"fmt"
	"strings"
	"testing"
)

// TestDefaultPorts checks that a source is spelled as it is written, and that
// the default port of a registry may be written or left out.
func TestDefaultPorts(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"a registry with a port is the source as written", `
[registry."h.corp:443"]
credential = "one"
`, "h.corp:443 -> https h.corp one self"},
		{"a registry with a port is a target's", `
[[mirror]]
source = "docker.io"
targets = ["h.corp/hub"]
[registry."h.corp:443/hub"]
credential = "one"
`, "docker.io -> https h.corp one; h.corp:443 -> https h.corp  self below hub one"},
		{"a registry without a port is that of a target with one", `
[[mirror]]
source = "docker.io"
targets = ["h.corp:443"]
[registry."h.corp"]
credential = "one"
`, "docker.io -> https h.corp one; h.corp -> https h.corp one self"},
		{"two spellings of a source, the source itself among the targets", `
[[mirror]]
source = "h.corp:443"
targets = ["m.corp", "h.corp"]
[[mirror]]
source = "h.corp"
targets = ["m.corp", "h.corp:443"]
`, "h.corp:443 -> https m.corp , https h.corp  self; h.corp -> https m.corp , https h.corp  self"},
		{"plain http has port 80", `
[[mirror]]
source = "docker.io"
targets = ["http://h.corp"]
[registry."h.corp:80"]
credential = "one"
[registry."h.corp:443"]
credential = "two"
`, "docker.io -> http h.corp one; h.corp:80 -> http h.corp:80 one self; h.corp:443 -> https h.corp two self"},
		{"plain http on port 443 is not https", `
[[mirror]]
source = "docker.io"
targets = ["http://h.corp:443"]
[registry."h.corp"]
credential = "one"
`, "docker.io -> http h.corp:443 ; h.corp -> https h.corp one self"},
		{"a table that names the port counts before one that does not", `
[[mirror]]
source = "docker.io"
targets = ["http://h.corp"]
[registry."h.corp"]
credential = "one"
[registry."h.corp:80"]
credential = "two"
`, "docker.io -> http h.corp two; h.corp -> http h.corp two self; h.corp:80 -> http h.corp:80 two self"},
		{"an ACR login server", `
[registry."contoso.azurecr.io:443"]
`, "contoso.azurecr.io:443 -> https contoso.azurecr.io azure self"},
		{"Docker Hub", `
[[mirror]]
source = "quay.io"
targets = ["docker.io/library"]
[registry."index.docker.io:443"]
credential = "one"
`, "quay.io -> https registry-1.docker.io one; docker.io:443 -> https docker.io one self"},
		{"one word with a port is a host", `
[[mirror]]
source = "harbor:443"
targets = ["m.corp"]
`, "harbor:443 -> https m.corp "},
	} {
		m, err := Parse("m", []byte("version = 1\n"+tt.text+"\n[credential.one]\nkind = \"docker-config\"\npath = \"/one\"\n[credential.two]\nkind = \"docker-config\"\npath = \"/two\"\n"))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if got := describeMirrors(m); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

func describeMirrors(m *Map) string {
	var list []string
	for _, one := range m.Mirrors {
		var targets []string
		for _, t := range one.Targets {
			s := fmt.Sprintf("%s %s %s", t.Scheme(), t.Host(), strings.Join(t.Credentials, " then "))
			if t.Self() {
				s += " self"
			}
			for _, b := range t.Below {
				s += fmt.Sprintf(" below %s %s", b.Prefix, strings.Join(b.Credentials, " then "))
			}
			targets = append(targets, s)
		}
		list = append(list, one.Source.String()+" -> "+strings.Join(targets, ", "))
	}
	return strings.Join(list, "; ")
}
