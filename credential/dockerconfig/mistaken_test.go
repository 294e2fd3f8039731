//go:build unix

package dockerconfig

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// TestNotAConfigJSON checks the errors for files that are given for a config.json, and
// that what is not one of those keeps its own error, or none.
func TestNotAConfigJSON(t *testing.T) {
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	good := `{"auths":{"a.io":` + login("u", canary) + `}}`
	old := `{"a.io":{"username":"u","password":"` + canary + `","email":"x@y.z","auth":"` + encode("u:"+canary) + `"}}`
	const secret, asConfig = "f.json is a Kubernetes Secret, not a docker config.json; ", `jsonpath='{.data.\.dockerconfigjson}' | base64 -d >f.json`
	for name, tt := range map[string]struct{ file, want string }{
		"a Secret in YAML":        {"apiVersion: v1\nkind: Secret\nmetadata:\n  name: pull\ntype: kubernetes.io/dockerconfigjson\ndata:\n  .dockerconfigjson: " + encode(good) + "\n", secret + "write the file that it holds: kubectl get secret NAME -n NAMESPACE -o " + asConfig},
		"quoted":                  {"kind: \"Secret\"\napiVersion: v1\n", secret},
		"below a comment":         {"---\n# ours\napiVersion: v1\nkind:   Secret\r\ndata: {}\n", secret},
		"a Secret in JSON":        {`{"apiVersion":"v1","data":{".dockerconfigjson":"` + encode(good) + `"},"kind":"Secret","type":"kubernetes.io/dockerconfigjson"}`, secret},
		"with stringData":         {"apiVersion: v1\nkind: Secret\nstringData:\n  .dockerconfigjson: |\n    " + good + "\n", secret},
		"a list of Secrets":       {`{"apiVersion":"v1","items":[{"kind":"Secret","data":{".dockerconfigjson":"` + encode(good) + `"}}],"kind":"List"}`, secret},
		"an old Secret":           {"apiVersion: v1\nkind: Secret\ntype: kubernetes.io/dockercfg\ndata:\n  .dockercfg: " + encode(old) + "\n", secret + `write the file that it holds: kubectl get secret NAME -n NAMESPACE -o jsonpath='{.data.\.dockercfg}' | base64 -d | jq '{auths: .}' >f.json`},
		".dockercfg":              {old, `f.json is a .dockercfg, whose entries a docker config.json has under "auths"; write it so: (umask 077 && jq '{auths: .}' f.json >f.json.new`},
		".dockercfg of Hub":       {`{"https://index.docker.io/v1/":` + login("u", canary) + `}`, "f.json is a .dockercfg"},
		"the value of a Secret":   {encode(good) + "\n", "f.json is base64, as a Kubernetes Secret has it; decode it: (umask 077 && base64 -d f.json >f.json.new"},
		"the value, folded":       {encode(good)[:20] + "\n  " + encode(good)[20:], "f.json is base64"},
		"another kind":            {"apiVersion: v1\nkind: ConfigMap\n", "f.json:1: not JSON"},
		"a broken config.json":    {`{"auths":{"a.io":` + login("u", canary), "f.json:1: not JSON"},
		"text":                    {canary, "f.json:1: not JSON"},
		"a good one":              {good, ""},
		"good, with more":         {`{"kind":"Secret","auths":{"a.io":` + login("u", canary) + `}}`, ""},
		"good, with old entries":  {`{"auths":{},"a.io":` + login("u", canary) + `}`, ""},
		"only settings of docker": {`{"HttpHeaders":{"User-Agent":"x"},"psFormat":"x"}`, ""},
		"a store alone":           {`{"credsStore":"x"}`, ""},
		"an empty one":            {"{}", ""},
	} {
		_, err := Parse("f.json", []byte(tt.file))
		switch {
		case err == nil && tt.want != "", err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: Parse = %v; want %q", name, err, tt.want)
		case err != nil && (strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), encode(canary)[:12])):
			t.Errorf("%s: Parse = %v; that is a secret", name, err)
		}
	}
}

// TestRemediesWork runs what is said about a .dockercfg and about base64.
func TestRemediesWork(t *testing.T) {
	good := `{"auths":{"a.io":` + login("u", "p") + `}}`
	for name, text := range map[string]string{
		"base64": base64.StdEncoding.EncodeToString([]byte(good)),
		"old":    `{"a.io":` + login("u", "p") + `}`,
	} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Read(input.Read, file)
		if err == nil {
			t.Fatalf("%s: no error", name)
		}
		_, command, _ := strings.Cut(err.Error(), ": ")
		runShell(t, command)
		if _, err := Read(input.Read, file); err != nil {
			t.Errorf("%s: after %s: %v", name, command, err)
		}
	}
}

// runShell runs a command of a message, if its program is there.
func runShell(t *testing.T, command string) {
	t.Helper()
	if program := strings.Fields(command)[3]; exec.Command("sh", "-c", "command -v "+program).Run() != nil {
		t.Skipf("%s is not there", program)
	}
	if out, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
}
