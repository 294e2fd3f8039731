package check

import (
	"slices"
	"strings"
	"testing"
	"time"

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
	if found := h.names(h.observe()); len(found) > 0 {
		t.Fatalf("on a healthy node there is %q", found)
	}
	for _, tt := range slices.Concat(brokenMaps, brokenContainerds, brokenTrees, brokenKubelets, brokenCredentials, brokenMachines) {
		t.Run(strings.ReplaceAll(tt.name, " ", "-"), func(t *testing.T) {
			t.Parallel()
			h := newHost(t)
			tt.spoil(h)
			found := h.observe()
			if got := h.names(found); !slices.Equal(got, tt.want) {
				t.Errorf("found %q; want %q", got, tt.want)
			}
			if tt.repair != nil {
				tt.repair(h)
			} else {
				h.repair(found)
			}
			left := h.observe()
			if tt.repair == nil { // the repair may need an apply
				h.repair(left)
				left = h.observe()
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
	}, []string{"warning containerd-login-used"}, nil},
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
