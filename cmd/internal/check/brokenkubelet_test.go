package check

import (
	"debug/elf"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
)

var brokenKubelets = []broken{
	{"no flags", func(h *host) { h.remove(flags) }, []string{"error flags-missing"}, func(h *host) { h.copy(flags) }},
	{"no configuration of providers", func(h *host) { h.remove(providers) }, []string{"error not-applied"}, nil},
	{"an invalid configuration", func(h *host) { h.append(providers, "  - name: other\n") }, []string{"error api-version", "error config-refused"}, nil},
	{"no plugin", func(h *host) { h.remove(plugin) }, []string{"error cannot-apply", "error plugin-missing"}, func(h *host) { h.copy(plugin) }},
	{"a plugin that cannot be run", func(h *host) { h.chmod(plugin, 0o644) }, []string{"error cannot-apply", "error plugin-not-executable"}, nil},
	{"a plugin that was stopped", func(h *host) { h.write(armed.Marker, "why; do this\n") }, []string{"error plugin-stopped"}, nil},
	{"a plugin whose marker cannot be looked at", func(h *host) { h.write(filepath.Dir(armed.Marker), "") }, []string{"error plugin-stopped"}, func(h *host) { h.remove(filepath.Dir(armed.Marker)) }},
	{"no record of containerd", func(h *host) { h.remove(record) }, []string{"error plugin-stopped"}, nil},
	{"a record that was cut short", func(h *host) { h.write(record, "{") }, []string{"error plugin-stopped"}, nil},
	{"a record in whose place is a directory", func(h *host) { h.remove(record); h.write(record+"/x", "") }, []string{"error plugin-stopped"}, func(h *host) { h.remove(record); h.apply() }},
	{"a pattern with a scheme", provider("\"https://a.corp\""), []string{"warning match-images-never-match"}, nil},
	{"a pattern with a star as path", provider("\"a.corp/*\""), []string{"warning match-images-never-match"}, nil},
	{"a pattern for everything", provider("\"*.*\""), []string{"warning duplicate-answer", "warning match-images-too-wide"}, nil},
	{"another answer for a source", provider("quay.io"), []string{"warning duplicate-answer"}, nil},
	{"one flag", func(h *host) { h.write(flags, "KUBELET_EXTRA_ARGS=--image-credential-provider-config="+providers+"\n") }, []string{"error one-flag-only"}, func(h *host) { h.copy(flags) }},
	{"the other flag", func(h *host) {
		h.write(flags, "KUBELET_EXTRA_ARGS=--image-credential-provider-bin-dir="+filepath.Dir(plugin)+"\n")
	}, []string{"error one-flag-only"}, func(h *host) { h.copy(flags) }},
	{"the old flag", func(h *host) {
		h.write(flags, "KUBELET_EXTRA_ARGS="+theFlags+" --azure-container-registry-config=/etc/kubernetes/azure.json\n")
	}, []string{"error in-tree-acr-flag"}, nil},
	{"flags of the next start", func(h *host) {
		h.append(mapFile, "[kubelet]\nconfig = \""+providers+"\"\nbin_dir = \""+filepath.Dir(plugin)+"\"\n")
		h.apply()
		h.write(unit, "[Service]\nExecStart=/usr/bin/kubelet --image-credential-provider-config="+providers+" --image-credential-provider-bin-dir=/opt/bin\n")
		h.play = func(v *visit) {
			v.kubelets = func() []kubelet.Kubelet {
				return []kubelet.Kubelet{{Process: process.Process{PID: 7, Unit: "kubelet.service", Args: append([]string{"kubelet"}, strings.Fields(theFlags)...)}}}
			}
		}
	}, []string{"warning flags-differ-from-files"}, func(h *host) { h.replace(unit, "/opt/bin", filepath.Dir(plugin)) }},
	{"a provider twice", func(h *host) { provider("a.corp")(h); provider("b.corp")(h) }, []string{"error provider-name-twice"}, nil},
	{"a provider of another protocol", func(h *host) {
		provider("a.corp")(h)
		h.replace(providers, "name: other\n", "name: other\n    args: []\n")
		h.append(providers, "  - name: third\n    matchImages: [c.corp]\n    defaultCacheDuration: 1m\n    apiVersion: v2\n")
	}, []string{"error api-version"}, nil},
	{"a file of another version", func(h *host) { h.replace(providers, "kubelet.config.k8s.io/v1", "kubelet.config.k8s.io/v7") }, []string{"error api-version"}, nil},
	{"tokens for an old kubelet", func(h *host) {
		h.append(mapFile, "[kubelet]\nversion = \"1.33\"\n")
		h.apply()
		providerWith("other", "a.corp", "    tokenAttributes:\n      serviceAccountTokenAudience: a\n      cacheType: Token\n      requireServiceAccount: true\n")(h)
	}, []string{"error token-attributes-too-early"}, nil},
	{"a token for which the cluster may have no rule", tokens, []string{"note token-rbac"}, func(h *host) {
		h.write("/var/log/mirrorcred/plugin.jsonl", `{"time":"2026-01-01T00:00:00.000Z","outcome":"answered","targets":[{"target":"tenants.corp","credential":"pods","cached":false,"ms":1}],"ms":1}`+"\n")
	}},
	{"two mirrors of the stock plugin below one registry", providerWith("acr-credential-provider", "\"*.azurecr.us\"", "    args: [/etc/kubernetes/azure.json, \"--registry-mirror=docker.io/a:x.azurecr.us,docker.io/b:y.azurecr.us\"]\n"), []string{"warning cache-poisoned-registry-type"}, nil},
	{"two mirrors of the stock plugin", providerWith("acr-credential-provider", "\"*.azurecr.us\"", "    args: [/etc/kubernetes/azure.json, \"--registry-mirror=docker.io:x.azurecr.us,ghcr.io/b:y.azurecr.us\"]\n"), []string{}, nil},
	{"a plugin for another processor", func(h *host) {
		program, err := os.ReadFile("/proc/self/exe")
		h.must(err)
		h.write(plugin, string(program))
		h.chmod(plugin, 0o755)
		h.play = func(v *visit) { v.arch = elf.EM_S390 }
	}, []string{"error plugin-wrong-arch"}, nil},
	{"a login of the node's own for a source", func(h *host) {
		h.write("/var/lib/kubelet/config.json", `{"auths": {"quay.io": {"auth": "dTpw"}}}`)
	}, []string{"warning node-docker-config-answers"}, nil},
}

var brokenCredentials = []broken{
	{"no azure.json", func(h *host) { h.remove(azure) }, []string{"error azure-json-missing"}, nil},
	{"an invalid azure.json", func(h *host) { h.write(azure, "{"); h.chmod(azure, 0o600) }, []string{"error azure-json-invalid"}, nil},
	{"an azure.json without an identity", func(h *host) { h.write(azure, "{}"); h.chmod(azure, 0o600) }, []string{"error azure-identity-incomplete"}, nil},
	{"an azure.json with half of a service principal", func(h *host) {
		h.write(azure, `{"tenantId": "t", "aadClientId": "c"}`)
		h.chmod(azure, 0o600)
	}, []string{"error azure-identity-incomplete"}, nil},
	{"a password that all can read", func(h *host) {
		h.write(azure, `{"tenantId": "t", "aadClientId": "c", "aadClientSecret": "CANARY"}`)
		h.chmod(azure, 0o644)
	}, []string{"error azure-json-mode"}, nil},
	{"a registry of another cloud", func(h *host) {
		h.write(azure, `{"cloud": "AzureChinaCloud", "useManagedIdentityExtension": true}`)
		h.chmod(azure, 0o600)
	}, []string{"error not-an-acr-host"}, nil},
	{"an identity binding without its CA", func(h *host) {
		h.append(mapFile, "[credential.azure]\nkind = \"azure\"\n[credential.azure.identity_binding]\nsni_name = \"s.corp\"\napi_server = \"10.0.0.1\"\nca = \"/etc/ca.crt\"\n")
		h.apply()
	}, []string{"error identity-binding-ca-missing", "note token-rbac"}, func(h *host) { h.copy(mapFile); h.apply() }},
	{"no docker config", func(h *host) { dockerConfig(h, ""); h.remove("/etc/d.json") }, []string{"error docker-config-missing"}, func(h *host) { dockerConfig(h, `"auths": {"mirror.corp": {"auth": "dTpw"}}`) }},
	{"a docker config that all can read", func(h *host) {
		dockerConfig(h, `"auths": {"mirror.corp": {"auth": "dTpw"}}`)
		h.chmod("/etc/d.json", 0o644)
	}, []string{"error docker-config-mode"}, nil},
	{"an invalid docker config", func(h *host) { dockerConfig(h, "x") }, []string{"error docker-config-invalid"}, func(h *host) { dockerConfig(h, `"auths": {"mirror.corp": {"auth": "dTpw"}}`) }},
	{"a docker config without an entry", func(h *host) { dockerConfig(h, `"auths": {"other.corp": {"auth": "dTpw"}}`) }, []string{"warning docker-config-no-entry"}, func(h *host) { dockerConfig(h, `"auths": {"mirror.corp": {"auth": "dTpw"}}`) }},
	{"a docker helper that is missing", func(h *host) { dockerConfig(h, `"credHelpers": {"mirror.corp": "gone"}`) }, []string{"error helper-missing"}, func(h *host) {
		h.write("/usr/local/bin/docker-credential-gone", "#!/bin/sh\n")
		h.chmod("/usr/local/bin/docker-credential-gone", 0o755)
	}},
	{"a provider that is missing", func(h *host) { execProvider(h, "/opt/ecr-credential-provider"); h.remove("/opt") }, []string{"error exec-missing"}, func(h *host) { execProvider(h, "/opt/ecr-credential-provider") }},
	{"a proxy before the metadata service", func(h *host) {
		execProvider(h, "/opt/ecr-credential-provider")
		h.write(unit, "[Service]\nEnvironment=HTTP_PROXY=http://u:CANARY@proxy.corp:3128 NO_PROXY=localhost\nExecStart=/usr/bin/kubelet "+theFlags+"\n")
	}, []string{"error metadata-proxied"}, func(h *host) { h.replace(unit, "localhost", "localhost,169.254.169.254") }},
	{"a proxy, and mirrorcred's own plugin", func(h *host) {
		h.write(unit, "[Service]\nEnvironment=HTTP_PROXY=http://proxy.corp:3128\nExecStart=/usr/bin/kubelet "+theFlags+"\n")
	}, []string{}, nil},
}

var brokenMachines = []broken{
	{"no watcher", func(h *host) { h.write("/etc/systemd/system/multi-user.target.wants/mirrorcred.service", "") }, []string{"warning watcher-not-running"}, func(h *host) { h.answer = &Watcher{Version: "v2"} }},
	{"a watcher of another version", func(h *host) { h.enable(); h.answer = &Watcher{Version: "v1"} }, []string{"warning watcher-older"}, func(h *host) { h.answer.Version = "v2" }},
	{"a watcher without inotify", func(h *host) {
		h.enable()
		h.answer = &Watcher{Version: "v2", Degraded: "too many open files"}
	}, []string{"warning no-inotify"}, func(h *host) { h.answer.Degraded = "" }},
	{"a read-only file system", func(h *host) {
		h.play = func(v *visit) { v.isReadOnly = func(dir string) bool { return dir == filepath.Join(h.root, tree) } }
	}, []string{"warning read-only"}, func(h *host) { h.play = nil }},
	{"a label of a home directory", func(h *host) {
		h.write("/etc/selinux/config", "SELINUX=enforcing\n")
		h.play = labelled(plugin, "unconfined_u:object_r:user_home_t:s0")
	}, []string{"warning selinux-label"}, func(h *host) { h.play = labelled(plugin, "system_u:object_r:var_lib_t:s0") }},
	{"a label where SELinux is permissive", func(h *host) {
		h.write("/etc/selinux/config", "SELINUX=permissive\n")
		h.play = labelled(plugin, "unconfined_u:object_r:user_home_t:s0")
	}, []string{}, nil},
	{"a clock that is behind", func(h *host) {
		h.play = func(v *visit) { v.now = v.now.Add(-time.Hour) }
	}, []string{"warning clock-skew"}, func(h *host) { h.play = nil }},
	{"a copy of another node", func(h *host) { h.write(machineID, "fedcba9876543210fedcba9876543210\n") }, []string{"warning state-of-another-node"}, func(h *host) { h.apply() }},
	{"an image without a name of its own", func(h *host) { h.write(machineID, "uninitialized\n") }, []string{}, nil},
	{"a comment in kubeadm's file", func(h *host) { h.write(flagsEnv, "# mine\nKUBELET_KUBEADM_ARGS=\"--x=1\"\n") }, []string{"warning kubeadm-flags-env-comment"}, func(h *host) { h.write(flagsEnv, "KUBELET_KUBEADM_ARGS=\"--x=1\"\n") }},
	{"a variable in kubeadm's file", func(h *host) { h.write(flagsEnv, "KUBELET_KUBEADM_ARGS=\"--x=1\"\nB=2\n") }, []string{"warning kubeadm-flags-env-comment"}, func(h *host) { h.write(flagsEnv, "KUBELET_KUBEADM_ARGS=\"--x=1\"\n") }},
	{"a provider in nodeadm's own file", func(h *host) {
		h.write(eksSign, "NODEADM_KUBELET_ARGS=--image-credential-provider-config="+eksProviders+" --image-credential-provider-bin-dir=/etc/eks/image-credential-provider")
		h.write(eksDir+"/a.yaml", "config_path = \"/etc/containerd/certs.d\"\n")
		h.write("/etc/eks/image-credential-provider/mirror-credential-provider", "")
		h.chmod("/etc/eks/image-credential-provider/mirror-credential-provider", 0o755)
		h.append(mapFile, "[kubelet]\nconfig = \""+eksProviders+"\"\nbin_dir = \"/etc/eks/image-credential-provider\"\n")
		h.apply()
	}, []string{"warning eks-nodeadm-rewrites"}, func(h *host) {
		h.replace(mapFile, "/config.json", "")
		h.write(eksSign, "NODEADM_KUBELET_ARGS=--image-credential-provider-config=/etc/eks/image-credential-provider --image-credential-provider-bin-dir=/etc/eks/image-credential-provider")
		h.remove(eksProviders)
		h.apply()
	}},
	{"a config_path that nodeadm does not know", func(h *host) { h.write(eksSign, "") }, []string{"warning eks-nodeadm-rewrites"}, func(h *host) {
		h.write(eksDir+"/a.yaml", "config_path = \"/etc/containerd/certs.d\"\n")
	}},
}
