package importer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/hosts"
)

// canary stands where an imported file has a secret.
const canary = "CANARY"

// imported writes a file, imports it, and returns the map without its head and
// the losses, each without the directory.
func imported(t *testing.T, name, text string, o Options) (string, []string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, name)
	write(t, path, text)
	result, err := Import(path, o)
	if err != nil {
		t.Fatalf("Import(%s): %v\n%s", name, err, text)
	}
	render(t, result) // the map is one
	_, body, _ := strings.Cut(string(result.Map), "version = 1\n")
	var losses []string
	for _, l := range result.Losses {
		losses = append(losses, strings.TrimPrefix(l.String(), dir+"/"))
	}
	if all := body + strings.Join(losses, "\n"); strings.Contains(all, canary) {
		t.Errorf("a secret is printed:\n%s", all)
	}
	return strings.ReplaceAll(body, dir+"/", ""), losses
}

// TestRegistries imports what people have in k3s' registries.yaml and asks where
// docker.io goes then, by the rules of hosts.toml. k3s' own rules are those of its
// pkg/agent/containerd/config.go.
func TestRegistries(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		want       string // the registries of docker.io
		loss       string // a part of one, "" if there is none
	}{
		{"an endpoint", `{docker.io: {endpoint: ["https://m.corp"]}}`, "https://m.corp/v2 https://registry-1.docker.io/v2", ""},
		{"without a scheme", `{docker.io: {endpoint: ["m.corp:5000"]}}`, "https://m.corp:5000/v2 https://registry-1.docker.io/v2", ""},
		{"on this node", `{docker.io: {endpoint: ["localhost:5000"]}}`, "http://localhost:5000/v2 https://registry-1.docker.io/v2", ""},
		{"on this node, by address", `{docker.io: {endpoint: ["127.0.0.1:5000"]}}`, "http://127.0.0.1:5000/v2 https://registry-1.docker.io/v2", ""},
		{"on this node with TLS's port", `{docker.io: {endpoint: ["localhost:443"]}}`, "https://localhost/v2 https://registry-1.docker.io/v2", ""},
		{"a slash", `{docker.io: {endpoint: ["https://m.corp/"]}}`, "https://m.corp/v2 https://registry-1.docker.io/v2", ""},
		{"the API's path", `{docker.io: {endpoint: ["https://m.corp/v2/"]}}`, "https://m.corp/v2 https://registry-1.docker.io/v2", ""},
		{"a path below the API", `{docker.io: {endpoint: ["https://m.corp/v2/hub"]}}`, "https://m.corp/v2/hub https://registry-1.docker.io/v2", ""},
		{"a path above the API", `{docker.io: {endpoint: ["https://m.corp/r/hub/v2"]}}`, "https://m.corp/r/hub/v2 https://registry-1.docker.io/v2", ""},
		{"another path", `{docker.io: {endpoint: ["https://m.corp/hub"]}}`, "", "its API is at"},
		{"two", `{docker.io: {endpoint: ["https://a.corp", "http://b.corp:5000"]}}`, "https://a.corp/v2 http://b.corp:5000/v2 https://registry-1.docker.io/v2", ""},
		{"twice the same", `{docker.io: {endpoint: ["https://a.corp", "a.corp/v2"]}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", ""},
		{"two paths on one registry", `{docker.io: {endpoint: ["https://a.corp", "https://a.corp/v2/x"]}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", "one target on a host and port"},
		{"the source itself last", `{docker.io: {endpoint: ["https://a.corp", "https://registry-1.docker.io"]}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", ""},
		{"the source itself first", `{docker.io: {endpoint: ["https://docker.io", "https://a.corp"]}}`, "", "targets after the source itself"},
		{"a prefix", `{docker.io: {endpoint: ["https://a.corp"], rewrite: {"^(.*)$": "hub/$1"}}}`, "https://a.corp/v2/hub https://registry-1.docker.io/v2", ""},
		{"a prefix of parts", `{docker.io: {endpoint: ["https://a.corp/v2/all"], rewrite: {"(.*)": "hub/x/$1"}}}`, "https://a.corp/v2/all/hub/x https://registry-1.docker.io/v2", ""},
		{"a prefix above the API", `{docker.io: {endpoint: ["https://a.corp/r/v2"], rewrite: {"(.*)": "hub/$1"}}}`, "", "one or the other"},
		{"a prefix that does nothing", `{docker.io: {endpoint: ["https://a.corp"], rewrite: {"(.*)": "$1"}}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", ""},
		{"a rewrite of some", `{docker.io: {endpoint: ["https://a.corp"], rewrite: {"^library/(.*)": "hub/$1"}}}`, "", "not a plain prefix"},
		{"two rewrites", `{docker.io: {endpoint: ["https://a.corp"], rewrite: {"^a/(.*)": "x/$1", "(.*)": "y/$1"}}}`, "", "not a plain prefix"},
		{"nothing", `{docker.io: }`, "", ""},
		{"no endpoint", `{docker.io: {endpoint: []}}`, "", ""},
		{"all others", `{"*": {endpoint: ["https://a.corp"]}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", ""},
		{"all others and one", `{"*": {endpoint: ["https://a.corp"]}, docker.io: {endpoint: ["https://b.corp"]}}`, "https://b.corp/v2 https://registry-1.docker.io/v2", ""},
		{"in capitals", `{Docker.io: {endpoint: ["https://a.corp"]}}`, "", "lower case"},
		{"an ACR with the way back", `{docker.io: {endpoint: ["https://contoso.azurecr.io"]}}`, "https://contoso.azurecr.io/v2", "--share"},
		{"no URL", `{docker.io: {endpoint: ["https://", "https://a.corp"]}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", "not a URL"},
		{"a login in the URL", `{docker.io: {endpoint: ["https://user:` + canary + `@a.corp"]}}`, "https://a.corp/v2 https://registry-1.docker.io/v2", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "registries.yaml")
			write(t, path, "mirrors: "+tt.yaml+"\n")
			result, err := Import(path, Options{})
			if err != nil {
				t.Fatal(err)
			}
			root := render(t, result)
			host := "docker.io"
			name, ok := hosts.Pick(host, func(name string) bool { return exists(filepath.Join(root, name)) })
			got := ""
			if ok {
				endpoints, err := hosts.Read([]byte(read(t, filepath.Join(root, name, hosts.FileName))), host, hosts.Version{})
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range endpoints {
					got += fmt.Sprintf(" %s://%s%s", e.Scheme, withoutDefault(e.Scheme, e.Host), e.Path)
				}
			}
			if strings.TrimSpace(got) != tt.want {
				t.Errorf("docker.io goes to%s; want %s\n%s", got, tt.want, result.Map)
			}
			said := fmt.Sprint(result.Losses)
			if (len(result.Losses) == 0) != (tt.loss == "") || !strings.Contains(said, tt.loss) || strings.Contains(said+string(result.Map), canary) {
				t.Errorf("the losses are %s; want %q", said, tt.loss)
			}
		})
	}
}

// TestLogins checks what becomes of logins and TLS settings, whose secrets are
// never printed.
func TestLogins(t *testing.T) {
	body, losses := imported(t, "registries.yaml", `
mirrors:
  docker.io: {endpoint: ["https://harbor.corp:8443", ], rewrite: {"(.*)": "hub/$1"}}
  quay.io: {endpoint: ["https://harbor.corp:8443"], rewrite: {"(.*)": "quay/$1"}}
configs:
  "harbor.corp:8443":
    auth: {username: node, password: CANARY}
    tls: {ca_file: /etc/ssl/ca.pem, cert_file: /c.pem, key_file: /k.pem}
  other.corp:
    auth: {identity_token: CANARY}
  "*":
    tls: {insecure_skip_verify: true}
    auth: {auth: CANARY}
`, Options{})
	for _, want := range []string{
		"[registry.\"harbor.corp:8443\"]\ncredential = \"harbor-corp-8443\"\nca = [\"/etc/ssl/ca.pem\"]\nclient = [[\"/c.pem\", \"/k.pem\"]]\n",
		"targets = [\"harbor.corp:8443/hub\"]", "targets = [\"harbor.corp:8443/quay\"]",
		"[credential.\"harbor-corp-8443\"]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor-corp-8443.json\"\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the map lacks\n%s\nit is\n%s", want, body)
		}
	}
	if strings.Count(body, "[registry.") != 2 {
		t.Errorf("more than one table for each registry:\n%s", body)
	}
	for _, want := range []string{
		"registries.yaml:6: the login for harbor.corp:8443 is not copied",
		"registries.yaml:9: the identity token for other.corp is not copied",
		"registries.yaml:11: settings for every registry are left out",
		"registries.yaml:11: a login for every registry is left out",
		"registries.yaml:3: \"docker.io\" as a fallback is left out",
	} {
		if !strings.Contains(strings.Join(losses, "\n"), want) {
			t.Errorf("no loss says %q:\n%s", want, strings.Join(losses, "\n"))
		}
	}
	if shared, _ := imported(t, "registries.yaml", "mirrors: {docker.io: {endpoint: [\"https://a.corp\"]}}\nconfigs: {a.corp: {auth: {username: u, password: CANARY}}}\n", Options{Share: true}); !strings.Contains(shared, "targets = [\"a.corp\", \"docker.io\"]\nshare_credential = true\n") {
		t.Errorf("with Share the way back is lost:\n%s", shared)
	}
}

// TestContainerd imports the mirrors of containerd's own configuration, in the
// table of each of its lines.
func TestContainerd(t *testing.T) {
	for _, table := range []string{`plugins.cri.registry`, `plugins."io.containerd.grpc.v1.cri".registry`, `plugins."io.containerd.cri.v1.images".registry`} {
		body, losses := imported(t, "config.toml", strings.ReplaceAll(`
version = 2
[T]
  [T.mirrors."docker.io"]
    endpoint = ["https://m.corp/v2/hub", "no-scheme.corp"]
  [T.configs."m.corp".tls]
    ca_file = "/etc/ssl/ca.pem"
  [T.configs."m.corp".auth]
    password = "CANARY"
  [T.headers]
    X-Meta = ["x"]
`, "T", table), Options{})
		for _, want := range []string{"targets = [\"m.corp/hub\"]", "ca = [\"/etc/ssl/ca.pem\"]", "credential = \"m-corp\""} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: the map lacks %q:\n%s", table, want, body)
			}
		}
		for _, want := range []string{"config.toml:4: no-scheme.corp is left out: it has no scheme", "config.toml:8: the login for m.corp is not copied", "config.toml:10: headers for every registry"} {
			if !strings.Contains(strings.Join(losses, "\n"), want) {
				t.Errorf("%s: no loss says %q:\n%s", table, want, strings.Join(losses, "\n"))
			}
		}
	}
}

// TestFlags imports what AKS tells acr-credential-provider.
func TestFlags(t *testing.T) {
	body, losses := imported(t, "credential-provider-config.yaml", `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: acr-credential-provider
    matchImages: ["*.azurecr.io", mcr.microsoft.com]
    defaultCacheDuration: "10m"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args:
      - /etc/kubernetes/other.json
      - --registry-mirror=mcr.microsoft.com:abc.azurecr.io/aks,quay.io/x:abc.azurecr.io
`, Options{})
	for _, want := range []string{"source  = \"mcr.microsoft.com\"\ntargets = [\"abc.azurecr.io/aks\"]", "kind = \"azure\"\nconfig = \"/etc/kubernetes/other.json\""} {
		if !strings.Contains(body, want) {
			t.Errorf("the map lacks %q:\n%s", want, body)
		}
	}
	if len(losses) != 1 || !strings.Contains(losses[0], "only images below quay.io/x") {
		t.Errorf("the losses are %q", losses)
	}
}

// TestRefused checks the errors for what cannot be imported.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct{ file, text, want string }{
		"neither":            {"x", "\x00\x01", "neither TOML nor YAML"},
		"another YAML":       {"x.yaml", "kind: Pod\n", "mirrorcred imports a directory"},
		"an empty file":      {"x.toml", "", "mirrorcred imports a directory"},
		"config_path":        {"config.toml", "version = 2\n[plugins.cri.registry]\nconfig_path = \"/etc/containerd/certs.d\"\n", "import that directory"},
		"imports":            {"config.toml", "version = 2\nimports = [\"a.toml\"]\n", "import the file of its imports"},
		"no provider has it": {"c.yaml", "apiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: x\n  matchImages: [a.io]\n  defaultCacheDuration: 1m\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n", "nothing to import"},
		"a merge":            {"registries.yaml", "mirrors:\n  <<: {}\n", "line 2"},
	} {
		path := filepath.Join(t.TempDir(), tt.file)
		write(t, path, tt.text)
		if _, err := Import(path, Options{}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", name, err, tt.want)
		}
	}
	for from, want := range map[string]string{
		"mcr.microsoft.com:abc.azurecr.io": "--registry-mirror=mcr",
		"/nothing/here":                    "no such file",
		t.TempDir():                        "no directory with a hosts.toml",
	} {
		if _, err := Import(from, Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Import(%q): %v; want %q", from, err, want)
		}
	}
}

func exists(path string) bool {
	_, err := filepath.EvalSymlinks(path)
	return err == nil
}
