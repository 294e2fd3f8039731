package nodetest_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// The fourth promise: a file that mirrorcred did not write is reported and left
// alone, until the operator says --adopt. In the kubelet's file, which is shared,
// that is so for the entries of other programs.

// theirs are files of other programs, by their paths on the node. Each conflicts with a
// mirror.
var theirs = map[string]string{
	nodetest.HostsDir + "/quay.io/hosts.toml":            "server = \"https://cache.corp\"\n",
	nodetest.HostsDir + "/registry.corp:5000/hosts.toml": "server = \"https://cache.corp\"\n",
	nodetest.HostsDir + "/gcr.io/ca.crt":                 "a certificate\n",
}

const theirProvider = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: acr-credential-provider   # AKS wrote this
    matchImages: ["*.azurecr.cn"]
    defaultCacheDuration: "10m"
    apiVersion: credentialprovider.kubelet.k8s.io/v1
    args: [/etc/kubernetes/azure.json]
`

// TestNotTouched applies a map on a node where other programs have written: their
// files stay as they are, and the source without a conflict is mirrored.
func TestNotTouched(t *testing.T) {
	w := newWorld(t, "mcr.microsoft.com")
	digest := w.add("contoso.azurecr.io", "app", "v1", azuretest.ACROptions{})
	text := toContoso
	for _, source := range []string{"quay.io", "registry.corp:5000", "gcr.io"} {
		text += "[[mirror]]\nsource = \"" + source + "\"\ntargets = [\"contoso.azurecr.io/" + strings.ReplaceAll(source, ":", "-") + "\"]\n"
	}
	for path, data := range theirs {
		w.write(path, data)
	}
	w.write(nodetest.KubeletConfig, theirProvider)
	w.write(nodetest.MapFile, text)

	run, err := w.node.Apply(t.Context())
	if err != nil || run.Code != 1 {
		t.Fatalf("apply exits with %d, %v: %s%s; want 1", run.Code, err, run.Stdout, run.Stderr)
	}
	for path, data := range theirs {
		if got := w.read(path); got != data {
			t.Errorf("%s is %q; want it as it was", path, got)
		}
		if dir := filepath.Dir(path); !strings.Contains(run.Stdout, strings.ReplaceAll(dir, "corp:5000", "corp")) {
			t.Errorf("apply does not report %s: %s", path, run.Stdout)
		}
	}
	if got := w.read(nodetest.KubeletConfig); !strings.HasPrefix(got, theirProvider) {
		t.Errorf("the kubelet's file is\n%s\nwant the other provider's entry first, byte for byte", got)
	}
	w.onlyAt("mcr.microsoft.com/app:v1", "contoso.azurecr.io", digest)

	// --adopt replaces the hosts.toml and keeps a copy; certificates and the
	// other directory stay, but containerd no longer reads them.
	if run, err := w.node.Apply(t.Context(), "--adopt"); err != nil || run.Code != 0 {
		t.Fatalf("apply --adopt exits with %d, %v: %s%s", run.Code, err, run.Stdout, run.Stderr)
	}
	copies, err := filepath.Glob(w.node.Path("/var/lib/mirrorcred/adopted/*"))
	if err != nil || len(copies) != len(theirs) {
		t.Errorf("there are copies %q, %v; want one of each of %d", copies, err, len(theirs))
	}
	for path, data := range theirs {
		if got := w.read(path); got != data && !strings.Contains(path, "quay.io") {
			t.Errorf("%s is %q after --adopt; want it as it was", path, got)
		}
	}
}

func (w *world) write(path, text string) {
	w.Helper()
	if err := w.node.WriteFile(path, text); err != nil {
		w.Fatal(err)
	}
}

func (w *world) read(path string) string {
	w.Helper()
	data, err := os.ReadFile(w.node.Path(path))
	if err != nil {
		w.Fatal(err)
	}
	return string(data)
}
