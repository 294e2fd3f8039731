package node

import (
	"os"
	"strings"
	"testing"
)

// canary is in every secret of these tests and must be in no diff.
const canary = "c4n4ry"

// TestDiffOfSecrets tells that a secret which comes, goes, or is somebody
// else's is in no diff.
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
	plan, err := n.Plan()
	if err != nil {
		t.Fatal(err)
	}
	if diff := plan.Diff(); strings.Contains(diff, canary) || !strings.Contains(diff, want) {
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
    X-Shown = "yes"
`)
	wantNoCanary(t, n, `-    X-Shown = "yes"`)
	write(t, n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"), "header = "+canary)
	wantNoCanary(t, n, "bytes that are not TOML")
}

// TestRedactEnv holds the ways to write an environment variable's value.
func TestRedactEnv(t *testing.T) {
	tests := map[string]string{
		"env:\n- name: A\n  value: c4n4ry\n- name: B\n":             "env:\n- name: A\n  value: [secret]\n- name: B\n",
		"env:\n- value: c4n4ry\n  name: A\n":                        "env:\n- value: [secret]\n  name: A\n",
		"env:\n- name: A\n  value: |\n    c4n4ry\n\n    c4n4ry\nx:": "env:\n- name: A\n  value: [secret]\nx:",
		"env:\n- name: A\n  value: \"c4n\n    4ry\"\nx: y\n":        "env:\n- name: A\n  value: [secret]\nx: y\n",
		"env: [{name: A, value: c4n4ry}]\n":                         "env: [{name: A, value: [secret]\n",
		"{\n  \"name\": \"A\",\n  \"value\": \"c4n4ry\"\n}\n":       "{\n  \"name\": \"A\",\n  \"value\": [secret]\n}\n",
	}
	for text, want := range tests {
		if got := redactEnv(text); got != want {
			t.Errorf("redactEnv(%q) = %q; want %q", text, got, want)
		}
	}
}
