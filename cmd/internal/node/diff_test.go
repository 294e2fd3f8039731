package node

import (
	"os"
	"strings"
	"testing"
)

// canary is in every secret of these tests and must be in no diff.
const canary = "c4n4ry"

// TestDiffOfSecrets checks that no diff has a secret: an added one, a removed one, or
// another program's.
func TestDiffOfSecrets(t *testing.T) {
	for name, value := range map[string]string{"plain": "Basic " + canary, "with a tab": "Basic\t" + canary, "quoted": `"` + canary + `\"`} {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, secretMap)
			header := n.path("/etc/mirrorcred/harbor.header")
			write(t, header, value)
			if err := os.Chmod(header, 0o600); err != nil {
				t.Fatal(err)
			}
			wantNoCanary(t, n, `header = { "X-Hub" = ["[secret]"] }`)
			apply(t, n)
			if err := os.WriteFile(header, []byte("other "+value), 0o600); err != nil {
				t.Fatal(err)
			}
			wantNoCanary(t, n, "only what is not shown differs")
			write(t, n.Map, oneMap)
			wantNoCanary(t, n, `-header = { "X-Hub" = ["[secret]"] }`)
			write(t, n.Map, emptyMap)
			wantNoCanary(t, n, "provider")
		})
	}
}

func wantNoCanary(t *testing.T, n *Node, want string) {
	t.Helper()
	todo, err := n.Plan(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := todo.Diff(); strings.Contains(diff, canary) || !strings.Contains(diff, want) {
		t.Errorf("diff:\n%s\nwant %q in it and no secret", diff, want)
	}
}

func TestDiffOfForeignSecrets(t *testing.T) {
	n, _ := newNode(t, oneMap)
	n.Adopt = true
	write(t, n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"), `server = "https://old.example"
[host."https://old.example"]
  skip_verify = true
  [host."https://old.example".header]
    authorization = ["Basic `+canary+`", '''
`+canary+`''']
    X-Meta-Shown = "yes"
`)
	wantNoCanary(t, n, `-    X-Meta-Shown = "yes"`)
	write(t, n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"), "header = "+canary)
	wantNoCanary(t, n, "bytes that are not TOML")
}
