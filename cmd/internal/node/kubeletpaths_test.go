package node

import (
	"os"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestUsePaths has a map that names no paths of the kubelet's take those that the
// kubelet starts with, and one that names any keep its own.
func TestUsePaths(t *testing.T) {
	const config, binDir = mirror.DefaultKubeletConfig, mirror.DefaultBinDir
	for layout, want := range map[string][2]string{
		"aks":                   {config, binDir},
		"eks":                   {"/etc/eks/image-credential-provider/config.json", "/etc/eks/image-credential-provider"},
		"kops":                  {"/var/lib/kubelet/credential-provider.conf", "/usr/local/bin"},
		"k3s":                   {rancherConfig, rancherBinDir},
		"k3s-agent-flags":       {"/etc/providers.yaml", "/opt/providers"},
		"rke2":                  {rancherConfig, rancherBinDir},
		"kubeadm-deb":           {config, binDir},
		"kubeadm-flags-by-hand": {"/etc/kubernetes/providers.yaml", "/opt/providers"},
		"kubeadm-one-flag":      {config, binDir},
		"talos":                 {config, binDir},
		"none":                  {config, binDir},
	} {
		root := t.TempDir()
		if err := layouts.Write(root, layout); err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string][2]string{
			"version = 1\n": want,
			"version = 1\n[kubelet]\nversion = \"1.34\"\n": want,
			"version = 1\n[kubelet]\nbin_dir = \"/own\"\n": {config, "/own"},
		} {
			m, err := mirror.Parse("map", []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			New(root, "", false).usePaths(m)
			if got := [2]string{m.Kubelet.Config, m.Kubelet.BinDir}; got != want {
				t.Errorf("%s: the paths of %q are %q; want %q", layout, text, got, want)
			}
		}
	}
}

// TestUsePathsMasked does not take the flags of a unit that is masked.
func TestUsePathsMasked(t *testing.T) {
	root := t.TempDir()
	if err := layouts.Write(root, "kops"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(root+"/etc/systemd/system", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/dev/null", root+"/etc/systemd/system/kubelet.service"); err != nil {
		t.Fatal(err)
	}
	m, err := mirror.Parse("map", []byte("version = 1\n"))
	if err != nil {
		t.Fatal(err)
	}
	if New(root, "", false).usePaths(m); m.Kubelet.Config != mirror.DefaultKubeletConfig {
		t.Errorf("the path is %s; want the default", m.Kubelet.Config)
	}
}
