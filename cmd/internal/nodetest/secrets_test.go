package nodetest_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// The sixth promise: no password and no token is in a log, an error, a diff, an
// argument, or a file that others than root can read. Each test here checks that
// for what the programs print and for all files of the node (see world.checkFiles);
// this one has a secret in each place that may hold one.

const withSecrets = `version = 1

[[mirror]]
source  = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]

[[mirror]]
source  = "docker.io"
targets = ["harbor.corp/hub"]

[registry."harbor.corp"]
credential = "harbor"
header     = { Authorization = { file = "/etc/mirrorcred/harbor.header" } }

[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`

// TestSecretsStaySecret applies a map whose credentials and headers are secrets,
// changes it, breaks it, and prints what it would do.
func TestSecretsStaySecret(t *testing.T) {
	w := newWorld(t)
	w.add("contoso.azurecr.io", "app", "v1", azuretest.ACROptions{})
	login := base64.StdEncoding.EncodeToString([]byte("node:" + azuretest.Canary + "login"))
	for path, text := range map[string]string{
		nodetest.AzureFile:              servicePrincipal,
		"/etc/mirrorcred/harbor.json":   `{"auths": {"harbor.corp": {"auth": "` + login + `"}}}`,
		"/etc/mirrorcred/harbor.header": "Bearer " + azuretest.Canary + "header\n",
	} {
		w.write(path, text)
	}
	// The files that hold a secret by right; of these the modes are checked.
	hosts := "/etc/containerd/certs.d/docker.io/hosts.toml"
	w.secrets = append(w.secrets, w.node.Path("/etc/mirrorcred/harbor.header"), w.node.Path(hosts), w.node.Path(nodetest.HostsDir, "harbor.corp", "hosts.toml"))
	said := ""
	for _, text := range []string{
		withSecrets,
		strings.ReplaceAll(withSecrets, "harbor.corp/hub", "harbor.corp/other"),
		strings.ReplaceAll(withSecrets, "docker-config", "docker_config"),
	} {
		w.write(nodetest.MapFile, text)
		for _, flags := range [][]string{{"-n"}, {"--json"}, {}} {
			run, err := w.node.Apply(t.Context(), flags...)
			if err != nil {
				t.Fatal(err)
			}
			said += run.Stdout + run.Stderr
		}
	}
	w.noSecret("the output of apply", said)
	if !strings.Contains(w.read(hosts), azuretest.Canary) {
		t.Error("the header is not in hosts.toml; this test would see nothing")
	}
	if err := w.checkPrivate(w.node.Path(hosts), w.node.Path(nodetest.HostsDir, "docker.io"), w.node.Path(nodetest.RoutesDir, "docker.io.json")); err != nil {
		t.Error(err)
	}
	// The plugin returns the secret to the kubelet, and to it alone.
	if answer := w.ask("docker.io/library/nginx"); len(answer.Credentials) != 1 || answer.Credentials[0].Password != azuretest.Canary+"login" {
		t.Errorf("the plugin answered %d credentials, %s", len(answer.Credentials), answer.Run.Stderr)
	}
}
