package mirror

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// aDelivered is a map that uses each key that needs the node's permission, and its
// tables are what a node allows it with.
const aDelivered = `version = 1

[[mirror]]
source  = "docker.io"
targets = ["harbor.corp:8443/hub", "docker.io"]
share_credential = true

[[mirror]]
source  = "quay.io"
targets = ["http://cache.corp:5000"]
header  = { X-Cache = { file = "/etc/mirrorcred/cache.header" } }

[registry."harbor.corp:8443"]
credential  = "harbor"
ca          = ["/etc/ssl/corp-ca.pem", "/etc/ssl/other-ca.pem"]
client      = [["/etc/ssl/client.crt", "/etc/ssl/client.key"]]
skip_verify = true
header      = { Authorization = { file = "/etc/mirrorcred/harbor.header" }, X-Team = "nodes" }

[registry."1234.dkr.ecr.eu-west-1.amazonaws.com"]
credential = "ecr"

[registry."pods.corp"]
credential = "pods"

[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"

[credential.ecr]
kind    = "exec"
command = "/usr/libexec/ecr-credential-provider"
args    = ["get-credentials"]
env     = { AWS_PROFILE = "node", AWS_REGION = "eu-west-1" }

[credential.pods]
kind     = "service-account-token"
username = "pod"
audience = "pods.corp"

[registry."own.corp"]
credential = "tenants"

[credential.tenants]
kind       = "pull-secret"
audience   = "mirrorcred"
kubeconfig = "/etc/kubernetes/node.conf"
timeout    = "3s"

[credential.azure]
kind   = "azure"
config = "/etc/mirrorcred/azure.json"
identity_binding = { sni_name = "binding.corp", api_server = "10.0.0.1", ca = "/etc/mirrorcred/ca.crt" }

[containerd]
hosts_dir   = "/etc/certs.d"
config      = "/etc/containerd.toml"
address     = "/run/containerd.sock"
config_path = "/etc/certs.d"
version     = "2.2"

[kubelet]
config       = "/etc/kubernetes/providers.yaml"
bin_dir      = "/opt/plugins"
version      = "1.34"
running      = false
audit_log    = "/var/log/plugin.jsonl"
match        = "any"
match_images = ["*.example.com"]
`

func lines(text, drop string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, drop) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func allowedBy(t *testing.T, text string) *Allowed {
	t.Helper()
	a, err := ParseAllowed("allowed.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestDelivered takes each line out of what a node allows: the map from the
// cluster that has it is refused, at that line, and no other.
func TestDelivered(t *testing.T) {
	if _, err := ParseDelivered("map", []byte(aDelivered), allowedBy(t, aDelivered)); err != nil {
		t.Fatalf("with its own tables as the list: %v", err)
	}
	if _, err := ParseDelivered("map", []byte(aDelivered), nil); err != nil {
		t.Errorf("with an unknown list: %v", err)
	}
	_, err := ParseDelivered("map", []byte(aDelivered), NothingAllowed("allowed.toml"))
	if got := len(strings.Split(fmt.Sprint(err), "\n")); got < 25 {
		t.Errorf("without a list there are %d faults: %v", got, err)
	}
	free := []string{"source", "match ", "match_images", "kind", "username", "timeout"}
	for i, line := range strings.Split(aDelivered, "\n") {
		name, _, isKey := strings.Cut(line, "=")
		if !isKey || strings.HasPrefix(line, "version") && i == 0 {
			continue
		}
		var rest []string
		for j, other := range strings.Split(aDelivered, "\n") {
			if i != j {
				rest = append(rest, other)
			}
		}
		isFree := slices.ContainsFunc(free, func(f string) bool { return strings.HasPrefix(line, f) })
		if strings.HasPrefix(line, "kind") && (strings.Contains(line, "exec") || strings.Contains(line, "token") || strings.Contains(line, "pull-secret")) {
			isFree = false // what these answer is not
		}
		_, err := ParseDelivered("map", []byte(aDelivered), allowedBy(t, strings.Join(rest, "\n")))
		switch text := fmt.Sprint(err); {
		case strings.HasPrefix(line, "source"):
			if err == nil {
				t.Errorf("without the %q of a mirror: no error", line)
			}
		case isFree != (err == nil):
			t.Errorf("without %q: %v", line, err)
		case isFree:
		case !strings.Contains(text, strings.TrimSpace(name)) || !strings.Contains(text, "allowed.toml"):
			t.Errorf("without %q: %v; want the key and the list", line, err)
		}
	}
}

// TestDeliveredFaults checks the messages, and what is refused because it is only
// nearly what the node allows.
func TestDeliveredFaults(t *testing.T) {
	list := allowedBy(t, lines(aDelivered, "skip_verify")+`
[registry."*"]
ca = "/etc/ssl/any-ca.pem"
`)
	for name, test := range map[string]struct{ text, want string }{
		"a shell":          {"[credential.ecr]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n", `command "/bin/sh" of [credential.ecr] is not allowed in a map from the cluster; write it in [credential.ecr] of allowed.toml on the node`},
		"another name":     {"[credential.x]\nkind = \"exec\"\ncommand = \"/usr/libexec/ecr-credential-provider\"\n", "command \"/usr/libexec/ecr-credential-provider\" of [credential.x] is not allowed"},
		"other arguments":  {"[credential.ecr]\nkind = \"exec\"\ncommand = \"/usr/libexec/ecr-credential-provider\"\nargs = [\"c4n4ry\"]\nenv = { AWS_PROFILE = \"node\", AWS_REGION = \"eu-west-1\" }\n", "map:5: args of [credential.ecr] is not allowed"},
		"no arguments":     {"[credential.ecr]\nkind = \"exec\"\ncommand = \"/usr/libexec/ecr-credential-provider\"\nenv = { AWS_PROFILE = \"node\", AWS_REGION = \"eu-west-1\" }\n", "[credential.ecr] has no args, without which"},
		"fewer variables":  {"[credential.ecr]\nkind = \"exec\"\ncommand = \"/usr/libexec/ecr-credential-provider\"\nargs = [\"get-credentials\"]\nenv = { AWS_PROFILE = \"node\" }\n", "[credential.ecr] has no env.AWS_REGION, without which"},
		"another variable": {"[credential.ecr]\nkind = \"exec\"\ncommand = \"/usr/libexec/ecr-credential-provider\"\nargs = [\"get-credentials\"]\nenv = { AWS_PROFILE = \"node\", AWS_REGION = \"eu-west-1\", LD_PRELOAD = \"c4n4ry\" }\n", "env.LD_PRELOAD of [credential.ecr] is not allowed"},
		"another target": {"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"harbor.corp:8443/hub\", \"evil.example\"]\nshare_credential = true\n",
			`map:4: target "evil.example" of the mirror of "docker.io" gets a secret by share_credential, and is not allowed`},
		"a header's target": {"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"evil.example\"]\nheader = { x-cache = { file = \"/etc/mirrorcred/cache.header\" } }\n",
			`target "evil.example" of the mirror of "quay.io" gets a secret by header.x-cache.file`},
		"a header elsewhere": {"[registry.\"evil.example\"]\nheader = { Authorization = { file = \"/etc/mirrorcred/harbor.header\" } }\n", `header.Authorization.file "/etc/mirrorcred/harbor.header" of [registry."evil.example"] is not allowed`},
		"a pod's token":      {"[registry.\"evil.example\"]\ncredential = \"pods\"\n[credential.pods]\nkind = \"service-account-token\"\nusername = \"x\"\naudience = \"pods.corp\"\n", `map:3: credential "pods" of [registry."evil.example"] is not allowed`},
		"one of a list":      {"[registry.\"harbor.corp:8443\"]\ncredential = [\n\"harbor\",\n\"pods\",\n\"anonymous\"]\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n[credential.pods]\nkind = \"service-account-token\"\nusername = \"x\"\naudience = \"pods.corp\"\n", `map:5: credential "pods" of [registry."harbor.corp:8443"] is not allowed`},
		"another audience":   {"[registry.\"pods.corp\"]\ncredential = \"pods\"\n[credential.pods]\nkind = \"service-account-token\"\nusername = \"x\"\naudience = \"https://kubernetes.default.svc\"\n", `map:7: audience "https://kubernetes.default.svc" of [credential.pods] is not allowed`},
		"another kubeconfig": {"[credential.tenants]\nkind = \"pull-secret\"\nkubeconfig = \"/tmp/other.conf\"\n", `map:4: kubeconfig "/tmp/other.conf" of [credential.tenants] is not allowed`},
		"pods' pull secrets": {"[registry.\"evil.example\"]\ncredential = \"tenants\"\n[credential.tenants]\nkind = \"pull-secret\"\n", `map:3: credential "tenants" of [registry."evil.example"] is not allowed`},
		"plain http":         {"[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"http://harbor.corp:5000\"]\n[registry.\"harbor.corp:5000\"]\ncredential = \"harbor\"\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n", `map:2: target "http://harbor.corp:5000" of the mirror of "ghcr.io" gets a credential unencrypted`},
		"not verified":       {"[registry.\"harbor.corp:8443\"]\nskip_verify = true\n", `skip_verify "true" of [registry."harbor.corp:8443"] is not allowed`},
		"a literal secret":   {"[registry.\"a.corp\"]\nheader = { Authorization = \"Bearer c4n4ry\" }\n", "map:3: header Authorization has a secret in a map from the cluster"},
		"another CA":         {"[registry.\"a.corp\"]\nca = [\"/etc/ssl/any-ca.pem\", \"/etc/shadow\"]\n", `ca "/etc/shadow" of [registry."a.corp"] is not allowed`},
		"another way":        {"[containerd]\nhosts_dir = \"/etc/certs.d/../certs.d\"\n", "hosts_dir"},

		"deliver":           {"[registry.\"harbor.corp:8443\"]\ncredential = \"harbor\"\ndeliver = \"hosts\"\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n", `map:4: deliver "hosts" of [registry."harbor.corp:8443"] is not allowed`},
		"a token host":      {"[registry.\"a.azurecr.io\"]\ndeliver = \"hosts\"\ntoken_host = \"evil.example\"\n", `map:4: token_host "evil.example" of [registry."a.azurecr.io"] is not allowed`},
		"deliver to an ACR": {"[registry.\"a.azurecr.io\"]\ndeliver = \"hosts\"\n", ""},
		"by the kubelet":    {"[registry.\"a.azurecr.io\"]\ndeliver = \"kubelet\"\n", ""},
		"nothing special":   {"[[mirror]]\nsource = \"a.io\"\ntargets = [\"b.io\", \"http://c.io:5000\"]\n[registry.\"b.io\"]\n[kubelet]\nmatch = \"any\"\n", ""},
		"an ACR":            {"[[mirror]]\nsource = \"a.io\"\ntargets = [\"contoso.azurecr.io\"]\n", ""},
		"the defaults":      {"[containerd]\nhosts_dir = \"/etc/containerd/certs.d\"\n[credential.azure]\nconfig = \"/etc/kubernetes/azure.json\"\n[kubelet]\naudit_log = \"journald\"\nrunning = true\n", ""},
		"any CA":            {"[registry.\"a.corp\"]\nca = \"/etc/ssl/any-ca.pem\"\n", ""},
		"as written":        {"[registry.\"HARBOR.corp:8443\"]\nca = \"/etc/ssl/other-ca.pem\"\nclient = [[\"/etc/ssl/client.crt\", \"/etc/ssl/client.key\"]]\nheader = { authorization = { file = \"/etc/mirrorcred/harbor.header\" } }\n", ""},
	} {
		_, err := ParseDelivered("map", []byte("version = 1\n"+test.text), list)
		switch text := fmt.Sprint(err); {
		case test.want == "" && err != nil, test.want != "" && !strings.Contains(text, test.want):
			t.Errorf("%s: %v; want %q", name, err, test.want)
		case strings.Contains(text, aCanary):
			t.Errorf("%s: the error repeats a secret: %v", name, err)
		}
	}
}

func TestParseAllowed(t *testing.T) {
	for text, want := range map[string]string{
		"":                                  `allowed.toml:1: version is missing; write "version = 1" at the top`,
		"version = 2":                       "version 2 is newer than this program",
		"version = 1\ncommands = []":        `unknown key "commands" in the map`,
		"version = 1\n[credential.x]\nx=1":  `unknown key "x" in [credential.x]`,
		"version = 1\n[[mirror]]\ntarget=1": `unknown key "target" in the mirror of ""`,
		"version":                           "allowed.toml:1: ",
	} {
		if _, err := ParseAllowed("allowed.toml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseAllowed(%q) = %v; want %q", text, err, want)
		}
	}
}

// TestEachKeyHasARule finds each key that the parser asks for, in each table and
// kind: a new key needs a rule, which says whether a map from the cluster may
// have it.
func TestEachKeyHasARule(t *testing.T) {
	asked := map[string]bool{}
	p := func(text string) {
		parser{faults: faults{asked: func(table, key string) {
			if table = patternOf(table); named[table] {
				key = "*"
			}
			asked[strings.TrimPrefix(table+"."+key, ".")] = true
		}}}.parse("map", []byte("version = 1\n"+text))
	}
	for _, kind := range kindList {
		p(fmt.Sprintf("[credential.x]\nkind = %q\n", kind))
		p(fmt.Sprintf("[credential.x]\nkind = %q\nidentity_binding = {}\nenv = { A = \"b\" }\n", kind))
	}
	const header = "header = { X = { file = 1 }, Y = \"a\" }\n"
	p("[[mirror]]\n" + header + "[registry.\"a.io\"]\n" + header + "[containerd]\n[kubelet]\n")
	tables := []string{"mirror", "registry", "credential", "containerd", "kubelet", "mirror.header", "registry.*.header", "credential.*.env", "credential.*.identity_binding"}
	for pattern := range asked {
		if _, known := rules[pattern]; !known && !slices.Contains(tables, pattern) {
			t.Errorf("the parser reads %s, and there is no rule for it; add one to rules.go", pattern)
		}
	}
	for pattern := range rules {
		if !asked[pattern] {
			t.Errorf("there is a rule for %s, which the parser does not read", pattern)
		}
	}
}

var (
	aName  = regexp.MustCompile(`\[(credential|registry)\.[^]]*\]`)
	aTable = regexp.MustCompile(`^(\w+)(?: \S+)? of (.*)$`)
)

// patternOf returns the pattern of a table as faults name it.
func patternOf(what string) string {
	if what == "the map" {
		return ""
	}
	if m := aTable.FindStringSubmatch(what); m != nil {
		step := m[1]
		if strings.HasPrefix(what, "header ") && !strings.HasPrefix(what, "header of ") {
			step += ".*"
		}
		return patternOf(m[2]) + "." + step
	}
	return strings.Trim(aName.ReplaceAllString(what, "$1.*"), "[]")
}

// TestEachFieldHasAKey walks the types of a parsed map: each field with text in
// it comes from keys that have rules, and a new field is not forgotten.
func TestEachFieldHasAKey(t *testing.T) {
	from := map[string]string{
		"Map.Mirrors.Source.name": "mirror.source", "Map.Mirrors.Targets.scheme": "mirror.targets", "Map.Mirrors.Targets.host.name": "mirror.targets",
		"Map.Mirrors.Targets.base": "mirror.targets", "Map.Mirrors.Targets.lines": "mirror.targets", "Map.Mirrors.Targets.prefix": "mirror.targets",
		"Map.Mirrors.Targets.Credentials": "registry.*.credential", "Map.Mirrors.Targets.Below.Credentials": "registry.*.credential", "Map.Mirrors.Targets.Below.Prefix": "registry.*.credential",
		"Map.Mirrors.Targets.Settings.CA": "registry.*.ca", "Map.Mirrors.Targets.Settings.Client": "registry.*.client", "Map.Mirrors.Targets.Settings.Capabilities": "registry.*.capabilities",
		"Map.Mirrors.Targets.Settings.Header.Name": "registry.*.header.*", "Map.Mirrors.Targets.Settings.Header.Values": "registry.*.header.*", "Map.Mirrors.Targets.Settings.Header.File": "registry.*.header.*.file",
		"Map.Mirrors.Targets.Settings.Header.Delivered": "registry.*.deliver", "Map.Mirrors.Targets.TokenHost": "registry.*.token_host",
		"Map.Credentials.Name": "credential.*.kind", "Map.Credentials.Kind": "credential.*.kind", "Map.Credentials.File": "credential.*.path", "Map.Credentials.Command": "credential.*.command",
		"Map.Credentials.Args": "credential.*.args", "Map.Credentials.Env": "credential.*.env.*", "Map.Credentials.Username": "credential.*.username",
		"Map.Credentials.Token.Audience": "credential.*.audience", "Map.Credentials.Token.Annotations": "credential.*.annotations", "Map.Credentials.Token.RequiredAnnotations": "credential.*.required_annotations",
		"Map.Credentials.ClientID": "credential.*.client_id", "Map.Credentials.TenantID": "credential.*.tenant_id",
		"Map.Credentials.Binding.Name": "credential.*.identity_binding.sni_name", "Map.Credentials.Binding.APIServer": "credential.*.identity_binding.api_server", "Map.Credentials.Binding.CA": "credential.*.identity_binding.ca",
		"Map.Containerd.HostsDir": "containerd.hosts_dir", "Map.Containerd.Config": "containerd.config", "Map.Containerd.Address": "containerd.address", "Map.Containerd.ConfigPath": "containerd.config_path", "Map.Containerd.Version": "containerd.version",
		"Map.Kubelet.Config": "kubelet.config", "Map.Kubelet.BinDir": "kubelet.bin_dir", "Map.Kubelet.MatchImages.text": "kubelet.match_images", "Map.Kubelet.MatchImages.host": "kubelet.match_images", "Map.Kubelet.MatchImages.port": "kubelet.match_images", "Map.Kubelet.MatchImages.path": "kubelet.match_images", "Map.Kubelet.AuditLog": "kubelet.audit_log", "Map.Kubelet.Version": "kubelet.version",
		// What the parser notes about the map.
		"Map.LiteralSecrets.Header": "registry.*.header.*", "Map.file": "version",
		"Map.Notes.File": "version", "Map.Notes.Text": "version", "Map.Notes.Name": "version", "Map.bySource": "mirror.source",
	}
	found := map[string]bool{}
	var walk func(of reflect.Type, path string)
	walk = func(of reflect.Type, path string) {
		switch of.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Array:
			walk(of.Elem(), path)
		case reflect.Struct:
			for i := range of.NumField() {
				walk(of.Field(i).Type, path+"."+of.Field(i).Name)
			}
		case reflect.String, reflect.Map, reflect.Interface, reflect.Func:
			found[path] = true
			key, known := from[path]
			if _, hasRule := rules[key]; !known || !hasRule {
				t.Errorf("%s holds text of the map; name its key here, and give that a rule", path)
			}
		}
	}
	walk(reflect.TypeFor[Map](), "Map")
	for _, path := range slices.Sorted(maps.Keys(from)) {
		if !found[path] {
			t.Errorf("there is no field %s", path)
		}
	}
}
