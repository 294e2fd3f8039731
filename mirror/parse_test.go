package mirror

import (
	"errors"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// fullMap names every table and most keys.
const fullMap = `version = 1

[[mirror]]
source  = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]

[[mirror]]
source  = "docker.io"
targets = ["contoso.azurecr.io/dockerhub", "docker.io"]
share_credential = true
header = { X-Forwarded-For = "docker.io" }

[[mirror]]
source = "*"
targets = ["harbor.corp:8443/hub-proxy/all"]

[registry."harbor.corp:8443/hub-proxy"]
credential = "harbor"
ca         = "/etc/ssl/corp-ca.pem"
client     = [["/etc/ssl/c.crt", "/etc/ssl/c.key"]]
header     = { Authorization = { file = "/etc/mirrorcred/harbor.header" } }
capabilities = ["pull"]
dial_timeout = "5s"
skip_verify = true

[registry."harbor.corp:8443/hub-proxy/all/secret"]
credential = "ecr"

[registry."quay.io"]

[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"

[credential.ecr]
kind    = "exec"
command = "/usr/libexec/kubelet-plugins/ecr-credential-provider"
args    = ["get-credentials"]
env     = { AWS_PROFILE = "node" }

[credential.workload]
kind = "service-account-token"
username = "token"
audience = "registry.example.com"

[credential.tenants]
kind = "pull-secret"

[credential.strangers]
kind       = "pull-secret"
audience   = "pulls"
kubeconfig = "/etc/kubernetes/../kubernetes/node.conf"
timeout    = "1500ms"

[containerd]
hosts_dir = "/etc/containerd/certs.d"
config = "/etc/containerd/config.toml"
version = "2.2"

[kubelet]
config       = "/etc/kubernetes/credential-provider.yaml"
bin_dir      = "/opt/bin"
match_images = ["*.example.com"]
match        = "any"
`

func mustParse(t testing.TB, text string) *Map {
	t.Helper()
	m, err := Parse("mirrors.toml", []byte(text))
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	return m
}

func TestParse(t *testing.T) {
	m := mustParse(t, fullMap)
	var got []string
	for _, mirror := range m.Mirrors {
		for _, target := range mirror.Targets {
			got = append(got, mirror.Source.String()+" "+target.String()+" "+strings.Join(target.Credentials, " then "))
		}
	}
	want := []string{
		"mcr.microsoft.com contoso.azurecr.io azure",
		"docker.io contoso.azurecr.io/dockerhub azure",
		"docker.io registry-1.docker.io ",
		"* harbor.corp:8443/hub-proxy/all harbor",
		"harbor.corp:8443 harbor.corp:8443 ",
		"quay.io quay.io ",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("mirrors and credentials:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	all, _ := m.Mirror(Source{"*"})
	for repository, want := range map[string]string{"hub-proxy/all/secret/x": "ecr", "hub-proxy/all/secrets/x": "harbor"} {
		if got := all.Targets[0].CredentialsFor(repository); !slices.Equal(got, []string{want}) {
			t.Errorf("CredentialsFor(%s) = %q; want %q alone", repository, got, want)
		}
	}
	if azure, ok := m.Azure(); !ok || azure.File != DefaultAzureConfig {
		t.Errorf("Azure() = %v, %v; want the implied credential", azure, ok)
	}
	tenants, _ := m.Credential("tenants")
	if tenants.Token == nil || tenants.Token.Audience != DefaultAudience || !tenants.Token.Required || tenants.File != "" || tenants.Timeout != 0 {
		t.Errorf("[credential.tenants] = %+v; want the defaults", tenants)
	}
	strangers, _ := m.Credential("strangers")
	if strangers.Token == nil || strangers.Token.Audience != "pulls" || strangers.File != "/etc/kubernetes/node.conf" || strangers.Timeout != 1500*time.Millisecond {
		t.Errorf("[credential.strangers] = %+v", strangers)
	}
	if !all.Secret() {
		t.Errorf("the mirror of * has a header from a file and is not secret")
	}
}

func TestParseEmpty(t *testing.T) {
	m := mustParse(t, "version = 1\n")
	if len(m.Mirrors) != 0 || m.Containerd.HostsDir != DefaultHostsDir || m.Kubelet.BinDir != DefaultBinDir {
		t.Errorf("the empty map is %+v", m)
	}
	if _, ok := m.Azure(); ok {
		t.Errorf("the empty map has an Azure credential")
	}
}

// TestVersionFromHelm checks that version may be written as Helm's toToml writes it.
func TestVersionFromHelm(t *testing.T) {
	m := mustParse(t, "version = 1.0\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"cache.corp\"]\n")
	if len(m.Mirrors) != 1 {
		t.Errorf("version = 1.0: %+v; want the map with one mirror", m)
	}
}

// TestAzureKind checks that [credential.azure] needs no kind, as its name says it.
func TestAzureKind(t *testing.T) {
	m := mustParse(t, "version = 1\n[credential.azure]\nconfig = \"/etc/other.json\"\n")
	if c, ok := m.Azure(); !ok || c.Kind != Azure || c.File != "/etc/other.json" {
		t.Errorf("Azure() = %+v, %v; want the kind azure with its file", c, ok)
	}
}

func TestResolve(t *testing.T) {
	m := mustParse(t, `version = 1
[[mirror]]
source = "MCR.microsoft.com"
targets = ["contoso.azurecr.io"]
[[mirror]]
source = "mcr.microsoft.com:443"
targets = ["fabrikam.azurecr.io:443/mcr"]
[[mirror]]
source = "index.docker.io"
targets = ["contoso.azurecr.io/hub"]
[[mirror]]
source = "harbor.corp:8443"
targets = ["contoso.azurecr.io/harbor"]
`)
	for image, want := range map[string]string{
		"mcr.microsoft.com/x":                "contoso.azurecr.io /v2",
		"mcr.microsoft.com.evil.example/x":   "",
		"evil-mcr.microsoft.com/x":           "",
		"MCR.microsoft.com/x":                "", // containerd looks for that directory
		"mcr.microsoft.com:443/x":            "fabrikam.azurecr.io /v2/mcr",
		"nginx:1.27":                         "contoso.azurecr.io /v2/hub",
		"docker.io/library/nginx":            "contoso.azurecr.io /v2/hub",
		"index.docker.io/library/nginx":      "contoso.azurecr.io /v2/hub",
		"registry-1.docker.io/library/nginx": "",
		"harbor.corp:8443/a/b":               "contoso.azurecr.io /v2/harbor",
		"harbor.corp/a/b":                    "",
	} {
		i, err := ParseImage(image)
		if err != nil {
			t.Fatalf("ParseImage(%q): %v", image, err)
		}
		got := ""
		if mirror, ok := m.Resolve(i); ok {
			got = mirror.Targets[0].Host().String() + " " + mirror.Targets[0].API()
		}
		if got != want {
			t.Errorf("Resolve(%q) = %q; want %q", image, got, want)
		}
	}
}

func TestParseTarget(t *testing.T) {
	for in, want := range map[string]string{
		"contoso.azurecr.io":               "https contoso.azurecr.io /v2",
		"Contoso.AzureCR.io:443":           "https contoso.azurecr.io /v2",
		"h/p":                              "https h /v2/p",
		"https://h/p":                      "https h /v2/p",
		"https://h/v2/p":                   "https h /v2/p",
		"https://h/v2/":                    "https h /v2",
		"https://h/":                       "https h /v2",
		"http://h:80/p/q":                  "http h /v2/p/q",
		"http://h:443":                     "http h:443 /v2",
		"docker.io":                        "https registry-1.docker.io /v2",
		"index.docker.io/library":          "https registry-1.docker.io /v2/library",
		"https://nexus.corp/Repository/v2": "https nexus.corp /Repository/v2",
		"httpbin.example.com":              "https httpbin.example.com /v2",
		"[2001:DB8::1]:5000/x":             "https [2001:db8::1]:5000 /v2/x",
		"":                                 "a host is missing; write host[:port] first, such as \"contoso.azurecr.io\"",
		"/p":                               "a host is missing; write host[:port] first, such as \"contoso.azurecr.io\"",
		"ftp://h":                          "unknown scheme \"ftp\"; write https:// or http://",
		"https://user:secret@h/p":          "a target has no user, password or digest; remove what belongs to the \"@\", and name a credential under [registry] instead",
		"h/P":                              "repository \"P\" has upper case; write \"p\"",
		"h:0":                              "port \"0\" is not a number from 1 to 65535; write \"h\", or a port behind it",
		"h:99999":                          "port \"99999\" is not a number from 1 to 65535; write \"h\", or a port behind it",
		"2001:db8::1":                      "an IPv6 address needs brackets; write it like \"[2001:db8::1]:5000\"",
		"münchen.example":                  "image names hold ASCII host names only; write the ASCII form, which begins with \"xn--\"",
		"h..example":                       "a host name has an empty label; remove the extra dot",
		"*.example.com":                    "a target must be one registry; write for example \"contoso.azurecr.io\"",
		"https://h/p?x=1":                  "a target has no query and no fragment; remove what begins with \"?\" or \"#\"",
		"https://nexus.corp/a/../b/v2":     "path \"/a/../b\" has an empty part, \".\" or \"..\"; remove it",
	} {
		got := ""
		if target, err := ParseTarget(in); err != nil {
			got = err.Error()
		} else {
			got = target.Scheme() + " " + target.Host().String() + " " + target.API()
			if again, err := ParseTarget(target.String()); err != nil || again.String() != target.String() || again.API() != target.API() {
				t.Errorf("ParseTarget(%q) prints as %q, which reads as %v, %v", in, target, again, err)
			}
		}
		if got != want {
			t.Errorf("ParseTarget(%q) = %s; want %s", in, got, want)
		}
	}
}

// unprintable stands for bytes that a text file would hide.
// TestParseLists holds what a registry's list of credentials means, for the
// registry, for its repositories, and for those that the map does not name.
func TestParseLists(t *testing.T) {
	const tables = "[credential.a]\nkind = \"docker-config\"\npath = \"/a\"\n[credential.b]\nkind = \"docker-config\"\npath = \"/b\"\n"
	for text, want := range map[string]struct {
		names []string
		open  bool
	}{
		`"a"`:                          {[]string{"a"}, false},
		`["a"]`:                        {[]string{"a"}, false},
		`["b", "a"]`:                   {[]string{"b", "a"}, false},
		`["b", "anonymous"]`:           {[]string{"b", Anonymous}, true},
		`["a", "b", "anonymous"]`:      {[]string{"a", "b", Anonymous}, true},
		`"anonymous"`:                  {nil, true},
		`["anonymous"]`:                {nil, true},
		"[ # of the team\n  \"a\",\n]": {[]string{"a"}, false},
		`["a", "azure"]`:               {[]string{"a", "azure"}, false},
		"":                             {[]string{"azure"}, false},
	} {
		key := "credential = " + text + "\n"
		if text == "" {
			key = ""
		}
		m := mustParse(t, "version = 1\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"x.azurecr.io\"]\n[registry.\"x.azurecr.io\"]\n"+key+
			"[registry.\"x.azurecr.io/team\"]\n"+key+tables)
		for _, one := range m.Mirrors { // the registry is its own source, too
			target := one.Targets[0]
			for _, got := range [][]string{target.Credentials, target.CredentialsFor("app"), target.CredentialsFor("team/app")} {
				if !reflect.DeepEqual(got, want.names) {
					t.Errorf("credential = %s of %s: %q; want %q", text, one.Source, got, want.names)
				}
			}
			if target.IsOpen() != want.open || slices.Contains(one.CredentialNames(), Anonymous) {
				t.Errorf("credential = %s: open %t; want %t; names %q", text, target.IsOpen(), want.open, one.CredentialNames())
			}
		}
		_, isAzure := m.Credential("azure")
		if isAzure != slices.Contains(want.names, "azure") {
			t.Errorf("credential = %s: azure is implied: %t", text, isAzure)
		}
	}
}

var unprintable = strings.NewReplacer("<TAB>", "\t", "<BOM>", "\xef\xbb\xbf", "<UTF16>", "\xff\xfe", "<E9>", "\xe9")

// TestParseFaults holds the messages of wrong maps: testdata/faults.txt has
// them as they are printed, each below its map.
func TestParseFaults(t *testing.T) {
	data, err := os.ReadFile("testdata/faults.txt")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	for i, part := range strings.Split(string(data), "=== ") {
		if i == 0 {
			out.WriteString(part)
			continue
		}
		name, rest, _ := strings.Cut(part, "\n")
		text, _, ok := strings.Cut(rest, "--- faults\n")
		if !ok {
			t.Fatalf("%s: no \"--- faults\"", name)
		}
		out.WriteString("=== " + name + "\n" + text + "--- faults\n")
		_, err := Parse("mirrors.toml", []byte(unprintable.Replace(text)))
		if err == nil {
			t.Errorf("%s: Parse took it", name)
			continue
		}
		out.WriteString(err.Error() + "\n")
		if strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: the message holds the secret", name)
		}
	}
	golden(t, "testdata/faults.txt", string(data), out.String())
}

func golden(t *testing.T, file, want, got string) {
	t.Helper()
	if got == want {
		return
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s differs; run with UPDATE=1 and look at the difference. Got:\n%s", file, got)
}

// FuzzPlain checks what is taken for valid without a second look against the
// library's decoder.
func FuzzPlain(f *testing.F) {
	f.Add([]byte(fullMap))
	for _, text := range []string{
		"a=1\na=2", "a.b=1\na.b=2", "a={b=1,b=2}", "a={b.c=1,b={}}", "[a]\n[a]", "[a.b]\n[a]", "[a]\nb=1\n[a.b]",
		"[a]\nb={}\n[a.b.c]", "[a]\nb.c=1\n[a.b.d]", "a=[{}]\n[[a]]", "[[a]]\n[a]", "[[a]]\n[a.b]\n[a.b]",
		"[a]\n[[a]]", "a=99999999999999999999", "a=2001-02-30", "a=1e999", "a=[1,{b=01}]", "a='\xff'", "a=\"\\ud800\"",
		"[a.b.c]\n[a]\nb.d=1", "a=1\n[a.b]", "[[a.b]]\n[a]\nb=1", "a=-0\nb=+1\nc=0x1", "\ufeffa=1", "a=1\r\nb=2", "[a]\n[a.b]\n[a.b.c]\n[a.d]",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d := document{root: newTable(1), data: data, current: 1}
		if d.build() != nil || d.doubtful {
			return
		}
		if err := judge("f", data); err != nil {
			t.Fatalf("%q is taken for valid: %v", data, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(fullMap))
	f.Add([]byte("version = 1"))
	f.Add([]byte("version=1\nmirror=[{source='a',targets=['b']}]"))
	f.Add([]byte("version=1\n[registry]\na.b.credential='x'\n[[mirror.x]]"))
	f.Add([]byte("version=1\n[registry.'h/p']\nca=[1,'/x']\nclient=[['a']]\n[credential]\nx=1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse("f", data)
		if err == nil {
			for _, mirror := range m.Mirrors {
				if len(mirror.Targets) == 0 || mirror.Source == (Source{}) {
					t.Fatalf("Parse gave an invalid mirror: %+v", mirror)
				}
			}
			return
		}
		var fault *Fault
		if !errors.As(err, &fault) || m != nil {
			t.Fatalf("Parse = %v, %T; want no map and faults", m, err)
		}
	})
}
