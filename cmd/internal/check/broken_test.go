package check

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
)

// A broken is a node that is broken in one way.
type broken struct {
	name  string
	spoil func(h *host)
	want  []string
	// repair does what the finding says if that is more than to run its command, or to
	// put the file that it names back.
	repair func(h *host)
}

func otherTree(name, text string) func(h *host) {
	return func(h *host) { h.write(tree+name+"/hosts.toml", text) }
}

func containerdIs(text string) func(h *host) { return func(h *host) { h.write(config, text) } }

// provider adds another provider with these patterns.
func provider(patterns string) func(h *host) { return providerWith("other", patterns, "") }

func providerWith(name, patterns, more string) func(h *host) {
	return func(h *host) {
		h.append(providers, "  - name: "+name+"\n    matchImages: ["+patterns+"]\n    defaultCacheDuration: 1m\n    apiVersion: credentialprovider.kubelet.k8s.io/v1\n"+more)
	}
}

// TestBrokenNodes breaks a healthy node in one way each. What is wrong is found by
// its name, and nothing else is; and once the remedy is applied, it is gone.
func TestBrokenNodes(t *testing.T) {
	h := newHost(t)
	if found := h.names(h.look()); len(found) > 0 {
		t.Fatalf("on a healthy node there is %q", found)
	}
	for _, tt := range slices.Concat(brokenMaps, brokenContainerds, brokenTrees, brokenKubelets, brokenCredentials, brokenMachines) {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			tt.spoil(h)
			found := h.look()
			if got := h.names(found); !slices.Equal(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
			if tt.repair != nil {
				tt.repair(h)
			} else {
				h.repair(found)
			}
			left := h.look()
			if tt.repair == nil { // the repair may need an apply
				h.repair(left)
				left = h.look()
			}
			if got := h.names(left); len(got) > 0 {
				t.Errorf("once it is repaired there is %q", got)
			}
			if t.Failed() {
				for _, f := range found {
					t.Logf("%s %s: %s", f.Severity, f.Name, f.Finding)
				}
				for _, f := range left {
					t.Logf("then %s %s: %s", f.Severity, f.Name, f.Finding)
				}
			}
		})
	}
}

var brokenMaps = []broken{
	{"no map", func(h *host) { h.remove(mapFile) }, []string{"error cannot-apply"}, func(h *host) { h.copy(mapFile) }},
	{"a fault in the map", func(h *host) { h.append(mapFile, "[[mirror]]\n") }, []string{"error map-invalid"}, nil},
	{"the map is not applied", func(h *host) { h.append(mapFile, "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"mirror.corp\"]\n") }, []string{"error not-applied"}, nil},
	{"the first target is not up", func(h *host) {
		h.append(mapFile, "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"http://127.0.0.1:1\"]\nready = \"60s\"\n")
		h.apply()
	}, []string{"warning mirror-not-ready"}, func(h *host) { h.copy(mapFile); h.apply() }},
	{"everybody may write the map", func(h *host) { h.chmod(mapFile, 0o666) }, []string{"error cannot-apply"}, nil},
	{"a secret in an open map", func(h *host) {
		h.append(mapFile, "[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"m.corp\"]\nheader = { Authorization = \"CANARY\" }\n")
	}, []string{"error secret-in-map"}, func(h *host) { h.copy(mapFile) }},
	{"a header that may be a secret in an open map", func(h *host) {
		h.append(mapFile, "[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"m.corp\"]\nheader = { X-Some-Key = \"CANARY\" }\n")
		h.apply()
	}, []string{"warning map-mode"}, nil},
	{"azure for another registry", func(h *host) {
		h.append(mapFile, "[registry.\"mirror.corp\"]\ncredential = \"azure\"\n")
	}, []string{"error not-an-acr-host"}, nil},
	{"a CA that is not there", func(h *host) {
		h.append(mapFile, "[registry.\"mirror.corp\"]\nca = \"/etc/ca.pem\"\n")
		h.apply()
	}, []string{"error ca-missing"}, func(h *host) { h.write("/etc/ca.pem", goodCert()); h.apply() }},
	{"an invalid CA", func(h *host) {
		h.append(mapFile, "[registry.\"mirror.corp\"]\nca = \"/etc/ca.pem\"\n")
		h.write("/etc/ca.pem", goodCert())
		h.apply()
		h.write("/etc/ca.pem", "no certificate")
	}, []string{"error source-fault"}, func(h *host) { h.write("/etc/ca.pem", goodCert()); h.apply() }},
	{"a secret over http", func(h *host) {
		h.append(mapFile, "[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"http://m.corp:5000\"]\n[registry.\"m.corp:5000\"]\ncredential = \"d\"\n[credential.d]\nkind = \"docker-config\"\npath = \"/etc/d.json\"\n")
		h.write("/etc/d.json", `{"auths": {"m.corp:5000": {"auth": "dTpw"}}}`)
		h.chmod("/etc/d.json", 0o600)
		h.apply()
	}, []string{"warning secret-over-http"}, func(h *host) { h.copy(mapFile); h.apply() }},
	{"an old hosts_dir", func(h *host) {
		h.write(mapFile, theMap+"[containerd]\nhosts_dir = \"/etc/containerd/other\"\n")
		h.write(config, strings.Replace(theConfig, "certs.d", "other", 1))
		h.apply()
		h.write("/etc/containerd/certs.d/quay.io/README", "mine")
		h.apply()
	}, []string{"warning hosts-dir-leftovers"}, func(h *host) { h.remove(tree); h.apply() }},
}

var brokenContainerds = []broken{
	{"no config_path", containerdIs("version = 3\n"), []string{"error config-path-unset"}, nil},
	{"no configuration", func(h *host) { h.remove(config) }, []string{"error config-path-unset"}, nil},
	{"an empty config_path", containerdIs(strings.Replace(theConfig, "/etc/containerd/certs.d", "", 1)), []string{"error config-path-unset"}, nil},
	{"a list", containerdIs(strings.Replace(theConfig, "certs.d", "certs.d:/etc/docker/certs.d", 1)), []string{"error config-path-list"}, nil},
	{"another directory", containerdIs(strings.Replace(theConfig, "certs.d", "other", 1)), []string{"error config-path-other"}, nil},
	{"a later file", func(h *host) {
		h.write(config, "imports = [\"conf.d/*.toml\"]\n"+theConfig)
		h.write("/etc/containerd/conf.d/a.toml", strings.Replace(theConfig, "certs.d", "other", 1))
	}, []string{"error config-path-overridden"}, nil},
	{"the table of containerd 1", containerdIs("version = 3\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n"), []string{"error version-mixed"}, nil},
	{"mirrors", containerdIs(theConfig + "[plugins.'io.containerd.cri.v1.images'.registry.mirrors.'x']\nendpoint = ['https://x']\n"), []string{"error mirrors-beside-config-path"}, nil},
	{"a disabled CRI", containerdIs("disabled_plugins = ['io.containerd.grpc.v1.cri']\n" + theConfig), []string{"error cri-disabled"}, nil},
	{"an import that is not there", containerdIs("imports = ['gone.toml']\n" + theConfig), []string{"error import-missing"}, nil},
	{"no TOML", containerdIs("version: 3\n"), []string{"error containerd-does-not-start"}, nil},
	{"a drop-in that nothing imports", func(h *host) { h.write("/etc/containerd/conf.d/a.toml", "version = 3\n") }, []string{"warning import-not-followed"}, nil},
	{"a table that 1.7 does not read", func(h *host) {
		h.write(mapFile, theMap+"[containerd]\nversion = \"1.7\"\n")
		h.write(config, strings.Replace(theConfig, "version = 3", "version = 2", 1))
	}, []string{"error wrong-table-for-version"}, func(h *host) {
		h.write(config, "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
		h.apply()
	}},
	{"an old table that wins", func(h *host) {
		h.write(mapFile, theMap+"[containerd]\nversion = \"2.4\"\n")
		h.apply()
		h.append(config, "[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/other'\n")
	}, []string{"error old-table-wins"}, nil},
	{"no default runtime", func(h *host) {
		h.append(config, "[plugins.'io.containerd.cri.v1.runtime'.containerd]\ndefault_runtime_name = 'gone'\n")
	}, []string{"error cri-does-not-load"}, nil},
	{"a login of containerd's own", func(h *host) {
		h.append(config, "[plugins.'io.containerd.cri.v1.images'.registry.configs.'mirror.corp'.auth]\nusername = 'u'\npassword = 'CANARY'\n")
		h.apply()
	}, []string{"warning configs-auth-in-the-way"}, nil},
	{"a login of containerd's own for another registry", func(h *host) {
		h.append(config, "[plugins.'io.containerd.cri.v1.images'.registry.configs.'other.corp'.auth]\nusername = 'u'\npassword = 'CANARY'\n")
		h.apply()
	}, []string{}, nil},
	{"headers that another table replaces", func(h *host) {
		h.write(config, "version = 2\n[plugins.'io.containerd.cri.v1.images'.registry.headers]\nX-Meta-Source-Client = ['azure/aks']\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
		h.apply()
	}, []string{"warning headers-lost"}, nil},
	{"a containerd that is older than the map says", func(h *host) {
		h.write(mapFile, theMap+"[containerd]\nversion = \"2.4\"\n")
		h.apply()
		h.installContainerd("v2.2.9")
	}, []string{"error version-too-old"}, func(h *host) { h.remove("/usr/local/bin/containerd"); h.apply() }},
	{"a containerd that is not supported", func(h *host) { h.installContainerd("v1.6.30") },
		[]string{"error version-too-old"}, func(h *host) { h.remove("/usr/local/bin/containerd"); h.apply() }},
	{"a pull by ctr", func(h *host) {
		h.write("/etc/systemd/system/preload.service", "[Service]\nExecStart=/usr/bin/ctr -n k8s.io images pull mcr.microsoft.com/oss/pause:3\n")
	}, []string{"note ctr-ignores-hosts"}, func(h *host) {
		h.replace("/etc/systemd/system/preload.service", "pull", "pull --hosts-dir /etc/containerd/certs.d")
	}},
	{"a pull by ctr of what is not mapped", func(h *host) {
		h.write("/etc/systemd/system/preload.service", "[Service]\nExecStart=/usr/bin/ctr images pull registry.k8s.io/pause:3\n#ctr images pull mcr.microsoft.com/x\n")
	}, []string{}, nil},
	{"a pause image that needs a credential", func(h *host) {
		h.append(config, "[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'mcr.microsoft.com/oss/kubernetes/pause:3.9'\n")
		h.apply()
	}, []string{"warning pause-image-through-authenticated-mirror"}, func(h *host) {
		h.play = func(v *visit) {
			v.isPinned = func(image string) bool { return image == "mcr.microsoft.com/oss/kubernetes/pause:3.9" }
		}
	}},
	{"a pause image through an anonymous mirror", func(h *host) {
		h.append(config, "[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'quay.io/pause:3.9'\n")
		h.apply()
	}, []string{}, nil},
	{"mirrorcred's own image through a mirror", func(h *host) {
		h.play = func(v *visit) {
			v.ownImages = func() []string { return []string{"mcr.microsoft.com/mirrorcred:1", "quay.corp/mirrorcred:1"} }
		}
	}, []string{"warning own-image-through-mirror"}, func(h *host) { h.play = nil }},
	{"mirrorcred's own image from a registry of the map", func(h *host) {
		h.append(mapFile, "[registry.\"contoso.azurecr.io\"]\n")
		h.apply()
		h.play = func(v *visit) { v.ownImages = func() []string { return []string{"contoso.azurecr.io/mirrorcred:1"} } }
	}, []string{}, nil},
	{"nothing says what containerd reads", func(h *host) {
		h.write("/etc/systemd/system/containerd.service", "[Service]\nExecStart=/usr/bin/containerd --config relative.toml\n")
	}, []string{"error containerd-unknown"}, func(h *host) { h.remove("/etc/systemd/system/containerd.service") }},
}

var brokenTrees = []broken{
	{"an edited file", func(h *host) { h.append(tree+"quay.io/hosts.toml", "# mine\n") }, []string{"error edited"}, nil},
	{"another program's file", otherTree("quay.io", "server = \"https://mirror.corp\"\n[host]\n"), []string{"error foreign"}, nil},
	{"a file of no source", otherTree("gcr.io", "server = \"https://mirror.corp\"\n[host]\n"), nil, nil},
	{"no TOML in it", otherTree("gcr.io", "server: x\n"), []string{"error not-parsed"}, nil},
	{"a byte order mark", otherTree("gcr.io", "\ufeff[host]\n"), []string{"error bom"}, nil},
	{"a table twice", otherTree("gcr.io", "[host.\"https://a\"]\n[host.\"https://a\"]\n"), []string{"error duplicate-host"}, nil},
	{"a key behind a table", otherTree("gcr.io", "[host.\"https://a\"]\nserver = \"https://a\"\n"), []string{"error key-after-table"}, nil},
	{"no scheme", otherTree("gcr.io", "[host.\"a.corp\"]\n"), []string{"note no-scheme"}, nil},
	{"a host like a scheme", otherTree("gcr.io", "[host.\"httpd.corp\"]\n"), []string{"error http-prefixed-host"}, nil},
	{"a slash", otherTree("gcr.io", "[host.\"https://a.corp/r/\"]\n"), []string{"note trailing-path"}, nil},
	{"Artifactory", otherTree("gcr.io", "[host.\"https://a.corp/artifactory/api/docker/r\"]\noverride_path = true\n"), []string{"error artifactory-path-without-v2"}, nil},
	{"rewrite", otherTree("gcr.io", "[host.\"https://a.corp\"]\n[host.\"https://a.corp\".rewrite]\na = \"b\"\n"), []string{"error rewrite-unknown"}, nil},
	{"the API twice", otherTree("gcr.io", "[host.\"https://a.corp/v2/p\"]\n"), []string{"error override-path-missing"}, nil},
	{"a capability", otherTree("gcr.io", "[host.\"https://a.corp\"]\ncapabilities = [\"fetch\"]\n"), []string{"error unknown-capability"}, nil},
	{"referrers", func(h *host) {
		h.write(mapFile, theMap+"[containerd]\nversion = \"2.1\"\n")
		h.apply()
		h.write(tree+"gcr.io/hosts.toml", "[host.\"https://a.corp\"]\ncapabilities = [\"pull\", \"referrers\"]\n")
	}, []string{"error referrers-too-early"}, nil},
	{"a dotted table", otherTree("gcr.io", "host.\"https://a.corp\".skip_verify = true\n"), []string{"error dotted-table-dropped"}, nil},
	{"a flat pair", otherTree("gcr.io", "[host.\"https://a.corp\"]\nclient = [\"a.crt\", \"a.key\"]\n"), []string{"error client-flat-pair"}, nil},
	{"the way back", otherTree("gcr.io", "[host.\"https://contoso.azurecr.io\"]\n"), []string{"error fallback-offers-credential"}, nil},
	{"two directories", func(h *host) {
		otherTree("h:5000", "[host]\n")(h)
		otherTree("h_5000_", "[host]\n")(h)
	}, []string{"warning shadowed-directory"}, nil},
	{"an empty directory", func(h *host) {
		otherTree("_default", "server = \"https://a.corp\"\n[host]\n")(h)
		h.write(tree+"gcr.io/README", "")
	}, []string{"warning empty-directory"}, nil},
	{"certificates beside it", func(h *host) {
		otherTree("gcr.io", "[host]\n")(h)
		h.write(tree+"gcr.io/ca.crt", "")
	}, []string{"warning docker-style-ignored"}, nil},
	{"certificates that it names", func(h *host) {
		otherTree("gcr.io", "[host.\"https://a.corp\"]\nca = [\"/etc/containerd/certs.d/gcr.io/ca.crt\", \"b.crt\"]\nclient = [[\"./c.cert\", \"c.key\"]]\n")(h)
		pair := tlstest.New(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		for name, data := range map[string][]byte{"ca.crt": pair.Cert, "b.crt": pair.Cert, "c.cert": pair.Cert, "c.key": pair.Key} {
			h.write(tree+"gcr.io/"+name, string(data))
		}
	}, []string{}, nil},
	{"certificates of another directory that it names", func(h *host) {
		otherTree("gcr.io", "[host.\"https://a.corp\"]\nca = \"/etc/containerd/certs.d/ghcr.io/ca.crt\"\n")(h)
		pair := tlstest.New(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
		h.write("/etc/containerd/certs.d/ghcr.io/ca.crt", string(pair.Cert))
		otherTree("ghcr.io", "[host.\"https://a.corp\"]\nca = \"ca.crt\"\n")(h)
		h.write(tree+"gcr.io/ca.crt", "")
	}, []string{"warning docker-style-ignored"}, nil},
	{"certificates beside ours", func(h *host) { h.write(tree+"quay.io/ca.crt", "") }, []string{"warning certificates-ignored"}, func(h *host) { h.remove(tree + "quay.io/ca.crt") }},
	{"another spelling beside ours", func(h *host) {
		h.append(mapFile, "[[mirror]]\nsource = \"h.corp:5000\"\ntargets = [\"mirror.corp\"]\n")
		h.apply()
		h.write(tree+"h.corp:5000/hosts.toml", "[host]\n")
	}, []string{"warning directory-ignored"}, nil},
	{"in capitals", otherTree("GCR.io", "[host]\n"), []string{"warning case-or-port-spelling"}, nil},
	{"two paths on one host", otherTree("gcr.io", "[host.\"https://a.corp/v2/a\"]\noverride_path = true\n[host.\"https://a.corp/v2/b\"]\noverride_path = true\n"), []string{"warning two-targets-one-host"}, nil},
	{"a secret that all can read", otherTree("gcr.io", "[host.\"https://a.corp\"]\nheader = { Authorization = \"CANARY\" }\n"), []string{"error world-readable-secret"}, nil},
	{"a secret for the source", func(h *host) {
		otherTree("gcr.io", "[header]\nAuthorization = \"CANARY\"\n[host.\"https://a.corp\"]\n")(h)
		h.chmod(tree+"gcr.io/hosts.toml", 0o600)
	}, []string{"error root-header-without-server"}, nil},
	{"TLS on http", otherTree("gcr.io", "[host.\"http://a.corp:5000\"]\nskip_verify = true\n"), []string{"warning http-with-tls-keys"}, nil},
	{"a file in the directory's place", func(h *host) { h.write(tree+"gcr.io", "") }, []string{"warning not-a-directory"}, nil},
	{"a link to itself in the directory's place", func(h *host) {
		h.link("gcr.io", tree+"gcr.io")
	}, []string{"warning not-a-directory"}, nil},
	{"a file in place of _default", func(h *host) { h.write(tree+"_default", "") }, []string{"error hosts-unreadable"}, nil},
	{"a link that leads nowhere in place of the tree", func(h *host) {
		h.remove(tree)
		h.link("/nowhere", tree)
	}, []string{"error cannot-apply", "error not-applied"}, func(h *host) { h.remove(tree); h.apply() }},
	{"a conflict, and a fault of a neighbour whose name begins the same", func(h *host) {
		h.remove(tree + "quay.io")
		h.write(tree+"quay.io", "")
		h.write(tree+"quay.io.corp/hosts.toml/x", "")
	}, []string{"error conflict", "error hosts-unreadable"}, func(h *host) { h.remove(tree); h.copy(tree) }},
	{"a note", func(h *host) { h.write(tree+"README", "") }, []string{}, nil},
	{"a directory in its place", func(h *host) { h.write(tree+"gcr.io/hosts.toml/x", "") }, []string{"error hosts-unreadable"}, nil},
	{"a server alone", func(h *host) {
		h.write(mapFile, theMap+"[containerd]\nversion = \"1.7\"\n")
		h.write(config, "version = 2\n[plugins.'io.containerd.grpc.v1.cri'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
		h.apply()
		h.write(mapFile, theMap+"[containerd]\nversion = \"1.7.31\"\n")
		h.apply()
		h.write(tree+"gcr.io/hosts.toml", "server = \"https://a.corp\"\n")
	}, []string{"error server-only-too-early"}, nil},
	{"a key that containerd does not know", otherTree("gcr.io", "sever = \"https://a.corp\"\n[host]\n"), []string{"warning key-unknown"}, nil},
	{"a CA that is not there, in another program's file", otherTree("gcr.io", "[host.\"https://a.corp\"]\nca = \"gone.crt\"\n"), []string{"error ca-missing"}, nil},
	{"an invalid CA, in another program's file", func(h *host) {
		otherTree("gcr.io", "[host.\"https://a.corp\"]\nca = \"/etc/ca.pem\"\n")(h)
		h.write("/etc/ca.pem", "no certificate")
	}, []string{"error ca-not-valid"}, func(h *host) { h.write("/etc/ca.pem", goodCert()) }},
	{"a certificate that is not there", otherTree("gcr.io", "[host.\"https://a.corp\"]\nclient = [[\"a.cert\", \"a.key\"]]\n"), []string{"error client-missing"}, nil},
	{"a key of another certificate", func(h *host) {
		otherTree("gcr.io", "[host.\"https://a.corp\"]\nclient = [[\"a.cert\", \"a.key\"]]\n")(h)
		pair, other := goodPair(), goodPair()
		h.write(tree+"gcr.io/a.cert", string(pair.Cert))
		h.write(tree+"gcr.io/a.key", string(other.Key))
	}, []string{"error client-not-valid"}, nil},
	{"a directory that was adopted", func(h *host) {
		h.append(mapFile, "[[mirror]]\nsource = \"h.corp:5000\"\ntargets = [\"mirror.corp\"]\n")
		h.write(tree+"h.corp:5000/hosts.toml", "[host]\n")
		h.adopt()
		h.remove(tree + "h.corp_5000_")
	}, []string{"error foreign", "error not-applied", "note directory-adopted"}, func(h *host) { h.apply(); h.remove(tree + "h.corp:5000") }},
	{"another program's _default", func(h *host) {
		otherTree("_default", "server = \"https://a.corp\"\n[host]\n")(h)
		h.append(mapFile, "[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"mirror.corp\"]\n")
	}, []string{"error not-applied", "note default-of-another-program"}, nil},
	{"a registries.yaml that cannot be read", func(h *host) { k3s(h); h.write("/etc/rancher/k3s/registries.yaml", "\t: x") },
		[]string{"warning registries-yaml-unreadable"}, nil},
	{"a registries.yaml that names a source", func(h *host) {
		k3s(h)
		h.write("/etc/rancher/k3s/registries.yaml", "mirrors:\n  quay.io:\n    endpoint: [https://a.corp]\n")
	}, []string{"error k3s-registries-yaml-owns"}, func(h *host) { h.remove("/etc/rancher/k3s/registries.yaml") }},
}

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

func goodPair() tlstest.Pair {
	return tlstest.New(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
}

func goodCert() string { return string(goodPair().Cert) }

// dockerConfig gives mirror.corp a credential from a docker config.json.
func dockerConfig(h *host, text string) {
	h.write(mapFile, theMap+"[registry.\"mirror.corp\"]\ncredential = \"d\"\n[credential.d]\nkind = \"docker-config\"\npath = \"/etc/d.json\"\n")
	h.write("/etc/d.json", "{"+text+"}")
	h.chmod("/etc/d.json", 0o600)
	h.apply()
}

// execProvider gives it one from another provider.
func execProvider(h *host, command string) {
	h.write(mapFile, theMap+"[registry.\"mirror.corp\"]\ncredential = \"e\"\n[credential.e]\nkind = \"exec\"\ncommand = \""+command+"\"\n")
	h.write(command, "#!/bin/sh\n")
	h.chmod(command, 0o755)
	h.apply()
}

// tokens gives it the token of the pod that pulls.
func tokens(h *host) {
	h.write(mapFile, theMap+"[registry.\"mirror.corp\"]\ncredential = \"pods\"\n[credential.pods]\nkind = \"service-account-token\"\nusername = \"u\"\naudience = \"mirror.corp\"\n[kubelet]\nversion = \"1.35\"\n")
	h.apply()
}

// k3s makes the host one of k3s.
func k3s(h *host) {
	const data = "/var/lib/rancher/k3s/agent/etc/containerd"
	h.write(mapFile, theMap+"[containerd]\nhosts_dir = \""+data+"/certs.d\"\nconfig = \""+data+"/config.toml\"\naddress = \"/run/k3s/containerd/containerd.sock\"\n")
	h.write(data+"/config.toml", strings.Replace(theConfig, "/etc/containerd/certs.d", data+"/certs.d", 1))
	h.remove("/var/lib/mirrorcred")
	h.remove(tree)
	h.apply()
}

// labelled gives one file a label.
func labelled(file, label string) func(v *visit) {
	return func(v *visit) {
		v.label = func(name string) string {
			if strings.HasSuffix(name, file) {
				return label
			}
			return ""
		}
	}
}
