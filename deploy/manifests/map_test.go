package main

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// everyKey is a map with each key of docs/map.md, as values and as TOML.
const everyKey = `
map:
  version: 1
  mirror:
    - source: docker.io
      targets: ["contoso.azurecr.io/hub", "http://cache.corp:5000", docker.io]
      share_credential: true
      ready: 60s
      header: {X-Forwarded-For: docker.io, X-Many: [a, b], X-Key: {file: /etc/mirrorcred/key}}
    - source: "*"
      targets: ["harbor.corp:8443/any"]
  registry:
    "harbor.corp:8443":
      credential: harbor
      ca: /etc/ssl/ca.pem
      client: [[/etc/ssl/client.crt, /etc/ssl/client.key]]
      skip_verify: true
      dial_timeout: 5s
      capabilities: [pull, resolve, push]
      header: {Authorization: {file: /etc/mirrorcred/harbor.header}}
    "delivered.corp": {credential: harbor, deliver: hosts, token_host: tokens.corp}
    "ecr.corp": {credential: ecr, ca: [/a.pem, /b.pem], client: /both.pem}
    "pods.corp": {credential: [workload, ecr, anonymous]}
  credential:
    azure:
      kind: azure
      config: /etc/kubernetes/azure.json
      audience: api://AzureADTokenExchange
      require: true
      client_id: 11111111-2222-3333-4444-555555555555
      tenant_id: 22222222-2222-3333-4444-555555555555
      identity_binding: {sni_name: name.example, api_server: cluster.example, ca: /ca.crt}
    harbor: {kind: docker-config, path: /etc/mirrorcred/harbor.json}
    ecr:
      kind: exec
      command: /opt/ecr
      args: [get-credentials, "a \"quoted\" one"]
      env: {AWS_PROFILE: node}
      audience: sts.example
      require: true
      annotations: [example.com/a]
      required_annotations: [example.com/b]
    tenants: {kind: pull-secret, audience: tenants.example, kubeconfig: /etc/kubernetes/kubelet.conf, timeout: 3s}
    workload: {kind: service-account-token, username: robot, audience: harbor.corp}
  containerd:
    hosts_dir: /etc/containerd/certs.d
    config: /etc/containerd/config.toml
    address: /run/containerd/containerd.sock
    config_path: /etc/containerd/certs.d
    version: "2.2"
  kubelet:
    config: /var/lib/kubelet/config.yaml
    bin_dir: /var/lib/kubelet/bin
    match_images: ["*.example.com"]
    match: any
    version: "1.34"
    running: false
    audit_log: journald
    plugin: mirror-credential-provider
`

const everyKeyTOML = `
version = 1
[[mirror]]
source = "docker.io"
targets = ["contoso.azurecr.io/hub", "http://cache.corp:5000", "docker.io"]
share_credential = true
ready = "60s"
header = { X-Forwarded-For = "docker.io", X-Many = ["a", "b"], X-Key = { file = "/etc/mirrorcred/key" } }
[[mirror]]
source = "*"
targets = ["harbor.corp:8443/any"]
[registry."delivered.corp"]
credential = "harbor"
deliver = "hosts"
token_host = "tokens.corp"
[registry."ecr.corp"]
credential = "ecr"
ca = ["/a.pem", "/b.pem"]
client = "/both.pem"
[registry."harbor.corp:8443"]
credential = "harbor"
ca = "/etc/ssl/ca.pem"
client = [["/etc/ssl/client.crt", "/etc/ssl/client.key"]]
skip_verify = true
dial_timeout = "5s"
capabilities = ["pull", "resolve", "push"]
header = { Authorization = { file = "/etc/mirrorcred/harbor.header" } }
[registry."pods.corp"]
credential = ["workload", "ecr", "anonymous"]
[credential.azure]
kind = "azure"
config = "/etc/kubernetes/azure.json"
audience = "api://AzureADTokenExchange"
require = true
client_id = "11111111-2222-3333-4444-555555555555"
tenant_id = "22222222-2222-3333-4444-555555555555"
identity_binding = { sni_name = "name.example", api_server = "cluster.example", ca = "/ca.crt" }
[credential.ecr]
kind = "exec"
command = "/opt/ecr"
args = ["get-credentials", 'a "quoted" one']
env = { AWS_PROFILE = "node" }
audience = "sts.example"
require = true
annotations = ["example.com/a"]
required_annotations = ["example.com/b"]
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
[credential.tenants]
kind = "pull-secret"
audience = "tenants.example"
kubeconfig = "/etc/kubernetes/kubelet.conf"
timeout = "3s"
[credential.workload]
kind = "service-account-token"
username = "robot"
audience = "harbor.corp"
[containerd]
hosts_dir = "/etc/containerd/certs.d"
config = "/etc/containerd/config.toml"
address = "/run/containerd/containerd.sock"
config_path = "/etc/containerd/certs.d"
version = "2.2"
[kubelet]
config = "/var/lib/kubelet/config.yaml"
bin_dir = "/var/lib/kubelet/bin"
match_images = ["*.example.com"]
match = "any"
version = "1.34"
running = false
audit_log = "journald"
plugin = "mirror-credential-provider"
`

// TestEveryKey has the real parser read what the chart makes of a map in values: it
// equals the map that is meant. A map in one string arrives as it is.
func TestEveryKey(t *testing.T) {
	want, err := mirror.Parse("mirrors.toml", []byte(everyKeyTOML))
	if err != nil {
		t.Fatal(err)
	}
	text := mapOf(t, everyKey)
	got, err := mirror.Parse("mirrors.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if got, want := said(got), said(want); got != want || !strings.Contains(got, "harbor.header") {
		t.Errorf("the chart makes\n%s\nwhich means\n%s\nwant\n%s", text, got, want)
	}
	quoted, err := yaml.Marshal(map[string]string{"map": everyKeyTOML})
	if err != nil {
		t.Fatal(err)
	}
	if got := mapOf(t, string(quoted)); got != everyKeyTOML {
		t.Errorf("a map in one string becomes %q; want it as it is", got)
	}
}

// mapOf returns the map that the chart delivers.
func mapOf(t *testing.T, values string) string {
	t.Helper()
	var text string
	for _, m := range mustRender(t, strings.Replace(image, "contoso.azurecr.io", "images.corp:5000", 1)+values) {
		if m.kind() == "ConfigMap" {
			text = m.field("data", "mirrors.toml")
		}
	}
	return text
}

var place = regexp.MustCompile(`mirrors\.toml:\d+: `)

// dump writes what a map says, without the lines that it says it on.
func dump(b *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			dump(b, v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; !strings.Contains(strings.ToLower(name), "line") {
				fmt.Fprintf(b, " %s{", name)
				dump(b, v.Field(i))
				b.WriteString("}")
			}
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			b.WriteString(" [")
			dump(b, v.Index(i))
			b.WriteString("]")
		}
	default:
		b.WriteString(place.ReplaceAllString(fmt.Sprint(v), ""))
	}
}

func said(m *mirror.Map) string {
	var b strings.Builder
	dump(&b, reflect.ValueOf(m))
	return b.String()
}

var (
	isKind        = regexp.MustCompile("^ `(azure|docker-config|exec|service-account-token|pull-secret)` $")
	documentedKey = regexp.MustCompile("`(?:\\[[a-z]+\\] )?([a-z_]+)`")
)

// TestDocumentedKeys holds that the map above has each key of docs/map.md.
func TestDocumentedKeys(t *testing.T) {
	data, err := os.ReadFile("../../docs/map.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.Contains(cells[1], "`") {
			continue
		}
		keys := cells[1]
		if isKind.MatchString(keys) {
			keys = cells[2] // the table of the kinds has them in its second column
		}
		for _, key := range documentedKey.FindAllStringSubmatch(keys, -1) {
			rows++
			if !strings.Contains(everyKey, key[1]) {
				t.Errorf("the map of the test lacks %q, which docs/map.md has", key[1])
			}
		}
	}
	if rows < 20 {
		t.Errorf("only %d keys were found", rows)
	}
}

// TestSchemaKeys holds the keys of the schema's types to those that the parser takes:
// it lists them when it finds an unknown one.
func TestSchemaKeys(t *testing.T) {
	for table, c := range map[string]struct {
		maps []string // each with an unknown key
		keys any
	}{
		"the map":    {[]string{"qqqqqqqq = 1"}, mirrorMap{}},
		"mirror":     {[]string{"[[mirror]]\nsource = \"a.b\"\ntargets = [\"c.d\"]\nqqqqqqqq = 1"}, mirrorValues{}},
		"registry":   {[]string{"[registry.\"a.b\"]\nqqqqqqqq = 1"}, registryValues{}},
		"containerd": {[]string{"[containerd]\nqqqqqqqq = 1"}, containerdValues{}},
		"kubelet":    {[]string{"[kubelet]\nqqqqqqqq = 1"}, kubeletValues{}},
		"credential": {[]string{
			"[credential.azure]\nkind = \"azure\"\nqqqqqqqq = 1", "[credential.x]\nkind = \"docker-config\"\nqqqqqqqq = 1",
			"[credential.x]\nkind = \"exec\"\nqqqqqqqq = 1", "[credential.x]\nkind = \"service-account-token\"\nqqqqqqqq = 1",
			"[credential.x]\nkind = \"pull-secret\"\nqqqqqqqq = 1",
		}, credentialValues{}},
		"identity_binding": {[]string{"[credential.azure]\nidentity_binding = { qqqqqqqq = 1 }"}, bindingValues{}},
	} {
		var want []string
		for _, text := range c.maps {
			_, err := mirror.Parse("m", []byte("version = 1\n"+text+"\n"))
			found := regexp.MustCompile(`unknown key "qqqqqqqq" in .*; the keys are (.*)`).FindStringSubmatch(err.Error())
			if found == nil {
				t.Fatalf("%s: %v", table, err)
			}
			want = append(want, strings.Split(found[1], ", ")...)
		}
		var got []string
		for name := range schemaOf(reflect.TypeOf(c.keys))["properties"].(schema) {
			got = append(got, name)
		}
		slices.Sort(want)
		slices.Sort(got)
		if want = slices.Compact(want); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has the keys %q; the parser takes %q", table, got, want)
		}
	}
}
