package node

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const rancherMap = `version = 1
[containerd]
hosts_dir = "HOSTS_DIR"
[[mirror]]
source = "docker.io"
targets = ["contoso.azurecr.io/hub"]
[[mirror]]
source = "quay.io"
targets = ["contoso.azurecr.io/quay"]
`

// TestRancher checks that a source which k3s or RKE2 will write itself is a
// conflict, in the directory that is theirs alone.
func TestRancher(t *testing.T) {
	const k3sTree, rke2Tree = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d", "/var/lib/rancher/rke2/agent/etc/containerd/certs.d"
	const k3sFile, rke2File = "/etc/rancher/k3s/registries.yaml", "/etc/rancher/rke2/registries.yaml"
	const named = "mirrors:\n  docker.io:\n    endpoint: [\"https://mirror.example\"]\n"
	tests := map[string]struct {
		tree, file, text string
		want             string // of what is left for docker.io
	}{
		"k3s":              {k3sTree, k3sFile, named, k3sFile + `:2 names "docker.io", and k3s replaces this directory when it starts next; move its settings to the map ("mirrorcred import ` + k3sFile + `" prints them) and take it out of that file, or remove the source from the map`},
		"RKE2":             {rke2Tree, rke2File, named, rke2File + `:2 names "docker.io", and RKE2 replaces`},
		"a data directory": {"/data/agent/etc/containerd/certs.d", k3sFile, named, k3sFile + `:2 names "docker.io"`},
		"JSON":             {k3sTree, k3sFile, `{"mirrors": {"docker.io": {"endpoint": []}}}`, k3sFile + `:1 names "docker.io"`},
		"by an alias":      {k3sTree, k3sFile, "x: &x\n  docker.io: {}\nmirrors:\n  <<: *x\n", k3sFile + `:2 names "docker.io"`},
		"a login":          {k3sTree, k3sFile, "configs:\n  docker.io:\n    auth: {username: u, password: canary}\n", k3sFile + `:2 names "docker.io"`},
		"nothing said":     {k3sTree, k3sFile, "configs:\n  docker.io: {auth: null}\nmirrors:\n", ""},
		"others":           {k3sTree, k3sFile, "mirrors:\n  \"*\": {}\n  index.docker.io: {}\n  docker.io:443: {}\n", ""},
		"not theirs":       {"/etc/containerd/certs.d", k3sFile, named, ""},
		"RKE2's for k3s":   {k3sTree, rke2File, named, ""},
		"empty":            {k3sTree, k3sFile, "# nothing yet\n", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(rancherMap, "HOSTS_DIR", test.tree, 1)
			n, _ := newNode(t, text)
			write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+test.tree+"'\n")
			write(t, n.path(test.file), test.text)
			for _, adopt := range []bool{false, true} {
				n.Adopt = adopt
				todo := apply(t, n)
				want := ""
				if test.want != "" {
					want = "left " + test.tree + "/docker.io/hosts.toml: " + test.want
				}
				wantLeft(t, todo, want)
				if strings.Contains(fmt.Sprint(todo), "canary") {
					t.Error("the plan has a password in it")
				}
			}
			if _, err := os.Stat(n.path(test.tree, "quay.io/hosts.toml")); err != nil {
				t.Errorf("the other source is not routed: %v", err)
			}
			if _, err := os.Stat(n.path(test.tree, "docker.io/hosts.toml")); (err == nil) != (test.want == "") {
				t.Errorf("docker.io: %v; want it routed: %t", err, test.want == "")
			}
		})
	}
}

// TestRancherElsewhere has k3s or RKE2 read another registries.yaml than the usual
// one.
func TestRancherElsewhere(t *testing.T) {
	const k3sTree, rke2Tree = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d", "/var/lib/rancher/rke2/agent/etc/containerd/certs.d"
	const named = "mirrors:\n  docker.io: {}\n"
	const usual, rke2Usual = "/etc/rancher/k3s/registries.yaml", "/etc/rancher/rke2/registries.yaml"
	unit := func(args string) string {
		return "[Service]\nEnvironmentFile=-/etc/systemd/system/k3s.service.env\nExecStart=/usr/local/bin/k3s \\\n    server \\\n" + args + "\n"
	}
	for name, test := range map[string]struct {
		tree  string
		files map[string]string
		want  string // the file that names the source; "" if none counts
	}{
		"a flag":        {k3sTree, map[string]string{"/etc/systemd/system/k3s.service": unit("\t'--private-registry' \\\n\t'/etc/own.yaml' \\\n"), "/etc/own.yaml": named}, "/etc/own.yaml"},
		"a flag with =": {k3sTree, map[string]string{"/etc/systemd/system/k3s-agent.service": unit("--private-registry=/etc/own.yaml"), "/etc/own.yaml": named}, "/etc/own.yaml"},
		"of a drop-in": {k3sTree, map[string]string{
			"/etc/systemd/system/k3s.service": unit(""), "/etc/systemd/system/k3s.service.d/x.conf": "[Service]\nExecStart=\nExecStart=/usr/local/bin/k3s server -private-registry /etc/own.yaml\n", "/etc/own.yaml": named,
		}, "/etc/own.yaml"},
		"the usual one does not count then": {k3sTree, map[string]string{"/etc/systemd/system/k3s.service": unit("--private-registry=/etc/own.yaml"), usual: named}, ""},
		"of the agent only": {k3sTree, map[string]string{
			"/etc/systemd/system/k3s.service": unit(""), "/etc/systemd/system/k3s-agent.service": unit("--private-registry=/etc/own.yaml"), "/etc/own.yaml": named,
		}, "/etc/own.yaml"},
		"config.yaml":         {k3sTree, map[string]string{"/etc/rancher/k3s/config.yaml": "token: canary\nprivate-registry: /etc/own.yaml\n", "/etc/own.yaml": named}, "/etc/own.yaml"},
		"config.yaml of RKE2": {rke2Tree, map[string]string{"/etc/rancher/rke2/config.yaml": "private-registry: \"/etc/own.yaml\"\n", "/etc/own.yaml": named, rke2Usual: ""}, "/etc/own.yaml"},
		"config.yaml.d": {k3sTree, map[string]string{
			"/etc/rancher/k3s/config.yaml": "private-registry: /etc/one.yaml\n", "/etc/rancher/k3s/config.yaml.d/b.yml": "private-registry: /etc/own.yaml\n",
			"/etc/rancher/k3s/config.yaml.d/a.yaml": "private-registry: /etc/two.yaml\n", "/etc/rancher/k3s/config.yaml.d/z.txt": "private-registry: /etc/three.yaml\n",
			"/etc/one.yaml": named, "/etc/two.yaml": named, "/etc/three.yaml": named, "/etc/own.yaml": named,
		}, "/etc/own.yaml"},
		"another config.yaml": {k3sTree, map[string]string{
			"/etc/systemd/system/k3s.service": unit("--config /etc/k3s.yaml"), "/etc/k3s.yaml": "private-registry: /etc/own.yaml\n",
			"/etc/rancher/k3s/config.yaml": "private-registry: /etc/one.yaml\n", "/etc/own.yaml": named,
		}, "/etc/own.yaml"},
		"the command line comes first": {k3sTree, map[string]string{
			"/etc/systemd/system/k3s.service": unit("--private-registry=/etc/own.yaml"), "/etc/rancher/k3s/config.yaml": "private-registry: /etc/one.yaml\n", "/etc/one.yaml": named, "/etc/own.yaml": "",
		}, ""},
		"none of it": {k3sTree, map[string]string{"/etc/systemd/system/k3s.service": unit("--node-name x"), "/etc/rancher/k3s/config.yaml": "private-registry:\n", usual: named}, usual},
	} {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, strings.Replace(rancherMap, "HOSTS_DIR", test.tree, 1))
			write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+test.tree+"'\n")
			for file, text := range test.files {
				write(t, n.path(file), text)
			}
			// k3s has flags that name this path.
			write(t, n.path(rancherBinDir, plan.PluginName), "#!/bin/sh\n")
			if err := os.Chmod(n.path(rancherBinDir, plan.PluginName), 0o755); err != nil {
				t.Fatal(err)
			}
			want := ""
			if test.want != "" {
				want = "left " + test.tree + "/docker.io/hosts.toml: " + test.want + ":2 names \"docker.io\""
			}
			todo := apply(t, n)
			wantLeft(t, todo, want)
			watched := n.Watched()
			for file := range test.files {
				isPattern := strings.Contains(file, ".d/")
				if !isPattern && !slices.Contains(watched, n.path(file)) && file == test.want {
					t.Errorf("%s is not watched, but %q", file, watched)
				}
			}
			if strings.Contains(fmt.Sprint(todo), "canary") {
				t.Error("the plan has a token in it")
			}
		})
	}
	// What cannot be read is said.
	n, _ := newNode(t, strings.Replace(rancherMap, "HOSTS_DIR", k3sTree, 1))
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+k3sTree+"'\n")
	write(t, n.path("/etc/rancher/k3s/config.yaml"), "a: [\n")
	todo := apply(t, n)
	if !slices.ContainsFunc(todo.Warnings, func(w doctor.Finding) bool {
		return w.Name == doctor.RegistriesYAMLUnreadable && w.Where == "/etc/rancher/k3s/config.yaml"
	}) {
		t.Errorf("the warnings are %v", todo.Warnings)
	}
}

// TestRancherLater names a source in registries.yaml that is routed already: it
// stays as it is, and the conflict is reported.
func TestRancherLater(t *testing.T) {
	const tree = "/var/lib/rancher/k3s/agent/etc/containerd/certs.d"
	n, _ := newNode(t, strings.Replace(rancherMap, "HOSTS_DIR", tree, 1))
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '"+tree+"'\n")
	wantLeft(t, apply(t, n), "")
	write(t, n.path("/etc/rancher/k3s/registries.yaml"), "mirrors:\n  docker.io: {}\n")
	todo := apply(t, n)
	wantLeft(t, todo, "left "+tree+"/docker.io/hosts.toml: /etc/rancher/k3s/registries.yaml:2 names")
	if len(todo.Changes) > 0 {
		t.Errorf("%d changes; want none", len(todo.Changes))
	}
	// One that cannot be read stops nothing.
	write(t, n.path("/etc/rancher/k3s/registries.yaml"), "mirrors: [\n")
	todo = apply(t, n)
	wantLeft(t, todo, "")
	if got := warnings(todo); !strings.Contains(got, "/etc/rancher/k3s/registries.yaml: not YAML: ") {
		t.Errorf("the warnings are:\n%s", got)
	}
	for _, path := range n.Watched() {
		if path == n.path("/etc/rancher/k3s/registries.yaml") {
			return
		}
	}
	t.Error("registries.yaml is not watched")
}
