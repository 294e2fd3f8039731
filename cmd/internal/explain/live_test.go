package explain

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestRun runs programs in the plugin's place, as the kubelet does, and holds that
// no secret is in what is told of them.
func TestRun(t *testing.T) {
	const canary = "CANARY"
	image, err := mirror.ParseImage("mcr.microsoft.com/x:1")
	if err != nil {
		t.Fatal(err)
	}
	token := "h." + base64.RawURLEncoding.EncodeToString([]byte(`{"exp": 1764460800}`)) + "." + canary
	answer := func(password string) string {
		return `{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","auth":{"mcr.microsoft.com":{"username":"u","password":"` + password + `"}}}`
	}
	for name, tt := range map[string]struct{ script, want string }{
		"a token":      {"cat >/dev/null; echo '" + answer(token) + "'", `"username":"u","length":` + itoa(len(token)) + `,"expires":"2025-11-30T00:00:00Z"`},
		"a password":   {"cat >/dev/null; echo '" + answer(canary) + "'", `"username":"u","length":6}`},
		"its request":  {`grep -q '"image":"mcr.microsoft.com/x"' && test "$2 $VALUE" = "--flag set" && echo '` + answer("x") + "'", `"length":1`},
		"a failure":    {"echo 'no credential for it' >&2; echo CANARY >&2; exit 1", `"fault":"no credential for it"`},
		"not JSON":     {"echo CANARY", `"fault":"the kubelet refuses its answer`},
		"not there":    {"", `"fault":"fork/exec`},
		"no such file": {"", "no such file"},
	} {
		dir := t.TempDir()
		if tt.script != "" {
			if err := os.WriteFile(filepath.Join(dir, "provider"), []byte("#!/bin/sh\n"+tt.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		entry := kubeletconfig.Entry{Provider: kubeletconfig.Provider{
			Name: "provider", Args: []string{"--registry-mirror=@/routes", "--flag"}, Env: []kubeletconfig.EnvVar{{Name: "VALUE", Value: "set"}},
		}}
		require := true
		pods, other := entry, entry
		pods.Name, pods.TokenAttributes = "pods", &kubeletconfig.TokenAttributes{RequireServiceAccount: &require}
		other.Name, other.Args = "other", nil
		for _, name := range []string{"pods", "other"} { // they must not run
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho "+canary+" >&2; exit 1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		answers, ran := Run(t.Context(), provider.Runner{BinDir: dir}, []kubeletconfig.Entry{other, pods, entry}, image)
		got, err := json.Marshal(answers)
		if err != nil || !ran {
			t.Fatal(ran, err)
		}
		if !strings.Contains(string(got), tt.want) || strings.Contains(string(got), canary) {
			t.Errorf("%s: Run = %s; want %s", name, got, tt.want)
		}
	}
}

func itoa(n int) string {
	data, _ := json.Marshal(n)
	return string(data)
}
