package mirror

import (
	"fmt"
	"strings"
	"testing"
)

// aCanary is a secret of the tests: no message may have it.
const aCanary = "c4n4ry"

// TestURLsNotRepeated has a URL with a user, a query or a fragment wherever a map
// may have one. It is refused, and nothing of it is repeated.
func TestURLsNotRepeated(t *testing.T) {
	places := map[string]string{
		"target":        "[[mirror]]\nsource = \"a.io\"\ntargets = [%q]\n",
		"second target": "[[mirror]]\nsource = \"a.io\"\ntargets = [\"b.io\", %q]\n",
		"target of any": "[[mirror]]\nsource = \"*\"\ntargets = [%q]\n",
		"source":        "[[mirror]]\nsource = %q\ntargets = [\"b.io\"]\n",
		"bare source":   "[[mirror]]\nsource = %q\n",
		"registry":      "[registry.%q]\n",
		"not a table":   "[registry]\n%q = 1\n",
		"below":         "[registry.\"a.io\".%q]\n",
		"pattern":       "[kubelet]\nmatch_images = [%q]\n",
		"credential":    "[registry.\"a.io\"]\ncredential = %q\n",
		"its name":      "[credential.%q]\nkind = \"exec\"\ncommand = \"/x\"\n",
		"command":       "[credential.x]\nkind = \"exec\"\ncommand = %q\n",
		"ca":            "[registry.\"a.io\"]\nca = %q\n",
		"api_server":    "[credential.x]\nkind = \"azure\"\nidentity_binding = {sni_name = \"a.io\", api_server = %q}\n",
		"sni_name":      "[credential.x]\nkind = \"azure\"\nidentity_binding = {sni_name = %q, api_server = \"a.io\"}\n",
		"hosts_dir":     "[containerd]\nhosts_dir = %q\n",
		"address":       "[containerd]\naddress = %q\n",
		"audit_log":     "[kubelet]\naudit_log = %q\n",
		"kind":          "[credential.x]\nkind = %q\n",
		"capability":    "[registry.\"a.io\"]\ncapabilities = [%q]\n",
		"unknown key":   "[kubelet]\n%q = 1\n",
		"header's name": "[registry.\"a.io\"]\nheader = { %q = \"x\" }\n",
		"plugin":        "[kubelet]\nplugin = %q\n",
		"variable":      "[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nenv = { \"\" = %q }\n",
		"annotation":    "[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\naudience = \"a\"\nannotations = [%q]\n",
	}
	for place, text := range places {
		for _, url := range []string{
			"https://user:c4n4ry@h.corp/x", "user:c4n4ry@h.corp", "c4n4ry@h.corp", "https://h.corp/x?token=c4n4ry", "h.corp?c4n4ry",
			"h.corp/x#c4n4ry", "h.corp#c4n4ry", "//user:c4n4ry@h.corp", "HTTPS://u:c4n4ry@H.corp:443/", "ftp://c4n4ry@h.corp",
			"https:/u:c4n4ry@h.corp", "h.corp/c4n4ry@sha256:00", "u:c4n4ry@[2001:db8::1]", " https://u:c4n4ry@h.corp", "https://u:p@h@c4n4ry",
		} {
			_, err := Parse("map", []byte("version = 1\n"+fmt.Sprintf(text, url)))
			if err == nil {
				// A path may begin with two slashes, and a header's name has a "#".
				if !strings.HasPrefix(url, "//") && place != "header's name" {
					t.Errorf("%s = %q: no error", place, url)
				}
			} else if strings.Contains(err.Error(), aCanary) {
				t.Errorf("%s = %q: the error repeats it: %v", place, url, err)
			}
		}
	}
}

// TestFaultsKeepSecrets damages a map that holds secrets, at each byte of it and
// in ways in which people do: no error has a secret.
func TestFaultsKeepSecrets(t *testing.T) {
	const text = `version = 1
[[mirror]]
source = "a.io"
targets = ["b.io/x"]
header = { X-Vault-Token = "c4n4ry" }
[registry."b.io"]
credential = "c"
header = { Authorization = ["Bearer c4n4ry", "c4n4ry"] }
[credential.c]
kind = "exec"
command = "/x"
args = ["--password=c4n4ry", "--c4n4ry"]
env = { TOKEN = "c4n4ry" }
`
	if _, err := Parse("map", []byte(text)); err != nil {
		t.Fatal(err)
	}
	check := func(damaged string) {
		if _, err := Parse("map", []byte(damaged)); err != nil && strings.Contains(err.Error(), aCanary) {
			t.Errorf("the error of %q has the secret: %v", damaged, err)
		}
	}
	for i := range len(text) {
		if rest := text[i:]; strings.HasPrefix(rest, "4n4ry") || i > 0 && strings.HasPrefix(text[i-1:], "c4n4ry") {
			continue // the canary itself
		}
		check(text[:i] + text[i+1:])
		for _, more := range []string{`"`, `'`, "\n", "=", "]", "}", "[", "#", ".", ",", "\t", "\x00", `\`, "x"} {
			check(text[:i] + more + text[i:])
		}
	}
}
