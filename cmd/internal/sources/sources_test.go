package sources_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/sources"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestOpen checks that each kind of the node's own credentials gives what its
// file says, below a root, and that no error repeats a password.
func TestOpen(t *testing.T) {
	const canary = "CANARY-OF-SOURCES"
	root := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("docker.json", `{"auths":{"harbor.corp":{"username":"u","password":"`+canary+`"}}}`, 0o600)
	write("open.json", `{"auths":{"harbor.corp":{"username":"u","password":"`+canary+`"}}}`, 0o644)
	write("azure.json", `{"cloud":"NoSuchCloud","tenantId":"`+canary, 0o600)
	write("provider", "#!/bin/sh\ncat >/dev/null\necho '"+`{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","auth":{"harbor.corp":{"username":"u","password":"`+canary+`"}}}`+"'\n", 0o755)
	host, err := mirror.ParseHost("harbor.corp")
	if err != nil {
		t.Fatal(err)
	}
	o := sources.Options{Root: root, Tree: input.NewRoot(root), ReadConfig: func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(root, path)) }}
	for _, test := range []struct {
		c     mirror.Credential
		fault string // "" if there is a credential
	}{
		{mirror.Credential{Kind: mirror.DockerConfig, File: "/docker.json"}, ""},
		{mirror.Credential{Kind: mirror.Exec, Command: "/provider"}, ""},
		{mirror.Credential{Kind: mirror.DockerConfig, File: "/open.json"}, "chmod 0600"},
		{mirror.Credential{Kind: mirror.DockerConfig, File: "/none.json"}, "does not exist"},
		{mirror.Credential{Kind: mirror.Azure, File: "/none.json"}, "does not exist"},
		{mirror.Credential{Kind: mirror.Azure, File: "/azure.json"}, "azure.json"},
		{mirror.Credential{Kind: mirror.Exec, Command: "/none"}, "none"},
		{mirror.Credential{Name: "n", Kind: mirror.PodToken}, `credential "n" is of kind`},
	} {
		source, err := sources.Open(test.c, o)
		var got credential.Credential
		if err == nil {
			got, err = source.Credential(t.Context(), credential.Query{Registry: host, Image: "harbor.corp/x"})
		}
		switch {
		case test.fault == "" && (err != nil || got.Username != "u" || got.Password != canary):
			t.Errorf("%v gives user %q, %v", test.c.Kind, got.Username, err)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
			t.Errorf("%v %s%s: %v; want an error with %q", test.c.Kind, test.c.File, test.c.Command, err, test.fault)
		case err != nil && strings.Contains(err.Error(), canary):
			t.Errorf("the error has a password: %v", err)
		}
	}
}
