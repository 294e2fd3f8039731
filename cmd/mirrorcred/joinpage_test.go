package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
)

// joinBlock returns the example of docs/join.md that begins so.
func joinBlock(t *testing.T, start string) string {
	t.Helper()
	for _, b := range blocks(readDocument(t, "docs/join.md")) {
		if strings.HasPrefix(b.text, start) {
			return b.text
		}
	}
	t.Fatalf("docs/join.md has no example that begins with %q", start)
	return ""
}

// joinReader returns a node of a layout on which a document is followed.
func joinReader(t *testing.T, layout string) *reader {
	t.Helper()
	n := newReader(t)
	if err := layouts.Write(n.root, layout); err != nil {
		t.Fatal(err)
	}
	n.write("/var/lib/kubelet/credential-provider/mirror-credential-provider", "#!/bin/sh\n") // it is not beside this binary
	n.write("/etc/containerd/config.toml", "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	return n
}

// TestJoinPage follows docs/join.md on a node of kubeadm.
func TestJoinPage(t *testing.T) {
	n := joinReader(t, "kubeadm-deb")
	n.write("/etc/mirrorcred/mirrors.toml", "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"contoso.azurecr.io\"]\n")
	for line := range strings.Lines(joinBlock(t, "mirrorcred bootstrap join -n")) {
		n.run(strings.TrimSpace(line))
	}
	n.startKubelet()
	if !strings.Contains(n.read("/etc/default/kubelet"), "--image-credential-provider-config=") {
		t.Errorf("the kubelet has no flags: %s", n.read("/etc/default/kubelet"))
	}
	n.read("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml")
}

// TestJoinAKS runs the script for AKS with the variables that its own script takes.
func TestJoinAKS(t *testing.T) {
	const isolated = "BOOTSTRAP_PROFILE_CONTAINER_REGISTRY_SERVER=abc.azurecr.io/aks/"
	for name, c := range map[string]struct {
		env   []string
		dir   string // of hosts.toml, "" for none
		hosts string // in it
		match []string
	}{
		"not isolated":   {nil, "", "", []string{`"*.azurecr.io"`}},
		"isolated":       {[]string{isolated}, "mcr.microsoft.com", `server = "https://abc.azurecr.io/v2/aks"`, []string{`"mcr.microsoft.com"`, `"*.azurecr.io"`}},
		"without a path": {[]string{"BOOTSTRAP_PROFILE_CONTAINER_REGISTRY_SERVER=abc.azurecr.io"}, "mcr.microsoft.com", `server = "https://abc.azurecr.io"`, nil},
		"sovereign":      {[]string{isolated, "MCR_REPOSITORY_BASE=mcr.microsoft.us/"}, "mcr.microsoft.us", `server = "https://abc.azurecr.io/v2/aks"`, []string{`"mcr.microsoft.us"`}},
		"custom cloud":   {[]string{isolated, "AKS_CUSTOM_CLOUD_CONTAINER_REGISTRY_DNS_SUFFIX=.azurecr.corp.example"}, "mcr.microsoft.com", `server = "https://abc.azurecr.io/v2/aks"`, []string{`"*.azurecr.corp.example"`, `"mcr.microsoft.com"`}},
		"custom, open":   {[]string{"AKS_CUSTOM_CLOUD_CONTAINER_REGISTRY_DNS_SUFFIX=azurecr.corp.example"}, "", "", []string{`"*.azurecr.corp.example"`}},
		"China":          {[]string{"TARGET_CLOUD=AzureChinaCloud"}, "mcr.azk8s.cn", "[host.\"https://mcr.azure.cn\"]\ncapabilities = [\"pull\", \"resolve\"]\nheader = { \"X-Forwarded-For\" = [\"mcr.azk8s.cn\"] }", nil},
		"China isolated": {[]string{"TARGET_CLOUD=AzureChinaCloud", isolated}, "mcr.microsoft.com", `server = "https://abc.azurecr.io/v2/aks"`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := joinReader(t, "aks")
			flags := n.read("/etc/default/kubelet")
			n.script(c.env)
			n.wantAKS(c.dir, c.hosts, c.match)
			if now := n.read("/etc/default/kubelet"); now != flags {
				t.Errorf("AKS's own flags become %s", now)
			}
			n.startKubelet()
			first := n.all()
			if n.script(c.env); !maps.Equal(n.all(), first) {
				t.Error("the second run changes a file")
			}
		})
	}
}

// script runs the script of the page for AKS.
func (n *reader) script(env []string) {
	n.t.Helper()
	cmd := exec.Command("sh", "-c", joinBlock(n.t, "# join-aks.sh"))
	cmd.Dir = n.root
	cmd.Env = append(append(os.Environ(), "ROOT="+n.root, "PATH="+filepath.Join(n.root, "shim")+":"+os.Getenv("PATH")), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("%v\n%s", err, out)
	}
}

// wantAKS checks the mirrors of a node, and what the kubelet matches.
func (n *reader) wantAKS(dir, hosts string, match []string) {
	n.t.Helper()
	var dirs []string
	for _, name := range n.tree() {
		if d, ok := strings.CutPrefix(name, "/etc/containerd/certs.d/"); ok {
			dirs = append(dirs, strings.TrimSuffix(d, "/hosts.toml"))
		}
	}
	if dir != "" && !slices.Contains(dirs, dir) || dir == "" && len(dirs) > 0 {
		n.t.Errorf("there are mirrors for %q; want %q", dirs, dir)
	}
	if dir != "" && !strings.Contains(n.read("/etc/containerd/certs.d/"+dir+"/hosts.toml"), hosts) {
		n.t.Errorf("hosts.toml is\n%s\nwant %s", n.read("/etc/containerd/certs.d/"+dir+"/hosts.toml"), hosts)
	}
	config := n.read("/var/lib/kubelet/credential-provider-config.yaml")
	for _, pattern := range match {
		if !strings.Contains(config, strings.Trim(pattern, `"`)) {
			n.t.Errorf("the kubelet does not match %s:\n%s", pattern, config)
		}
	}
}

// all returns every file of the node outside of mirrorcred's state.
func (n *reader) all() map[string]string {
	files := map[string]string{}
	for _, name := range n.tree() {
		if to, err := os.Readlink(filepath.Join(n.root, name)); err == nil {
			files[name] = to // which is a path of the node
			continue
		}
		files[name] = n.read(name)
	}
	return files
}

// TestJoinCloudInit does what the cloud-config of the page says.
func TestJoinCloudInit(t *testing.T) {
	n := joinReader(t, "kubeadm-rpm")
	var config struct {
		Files []struct{ Path, Content string } `yaml:"write_files"`
		Run   []string                         `yaml:"runcmd"`
	}
	if err := yaml.Unmarshal([]byte(joinBlock(t, "#cloud-config")), &config); err != nil {
		t.Fatal(err)
	}
	for _, f := range config.Files {
		n.write(f.Path, f.Content)
	}
	ran := 0
	for _, line := range config.Run {
		if strings.HasPrefix(line, "mirrorcred ") {
			n.run(line)
			ran++
		}
	}
	if ran != 2 || !strings.Contains(n.read("/etc/sysconfig/kubelet"), "--image-credential-provider-bin-dir=") {
		t.Errorf("after %d commands the kubelet has %s", ran, n.read("/etc/sysconfig/kubelet"))
	}
	n.read("/etc/containerd/certs.d/docker.io/hosts.toml")
}

// TestJoinKind makes a node of kind's as the page says, whose containerd has version
// 2 of its configuration.
func TestJoinKind(t *testing.T) {
	n := joinReader(t, "kind")
	var config struct {
		Patches []string `yaml:"containerdConfigPatches"`
		Nodes   []struct {
			Mounts []struct{ HostPath, ContainerPath string } `yaml:"extraMounts"`
		}
	}
	if err := yaml.Unmarshal([]byte(joinBlock(t, "# kind.yaml")), &config); err != nil {
		t.Fatal(err)
	}
	n.write("/etc/containerd/config.toml", "version = 2\n"+strings.Join(config.Patches, "\n")+"\n")
	n.write("/etc/mirrorcred/mirrors.toml", "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"mirror.gcr.io\"]\n")
	line := strings.TrimSpace(joinBlock(t, "docker exec"))
	n.run(strings.TrimPrefix(line, "docker exec kind-control-plane /opt/mirrorcred/"))
	n.read("/etc/containerd/certs.d/docker.io/hosts.toml")
	n.startKubelet()
	if flags := n.read("/etc/default/kubelet"); !strings.HasPrefix(flags, "KUBELET_EXTRA_ARGS=--runtime-cgroups=/system.slice/containerd.service --image-") {
		t.Errorf("the kubelet has %s", flags)
	}
}
