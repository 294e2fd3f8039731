package doctor

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

func parse(t *testing.T, text string) *mirror.Map {
	t.Helper()
	m, err := mirror.Parse("mirrors.toml", []byte("version = 1\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// names returns the findings as "NAME WHERE", a line each.
func names(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		b.WriteString(strings.TrimSpace(f.Name+" "+f.Where) + "\n")
	}
	return b.String()
}

const hubMirror = "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"mirror.example\"]\n"

func TestNoFindings(t *testing.T) {
	if got := Check(&Facts{Map: parse(t, "")}); got == nil || len(got) > 0 {
		t.Errorf("Check(empty node) = %#v; want an empty list", got)
	}
}

// TestDuplicateAnswers holds patterns of other providers against one mirror.
func TestDuplicateAnswers(t *testing.T) {
	for _, test := range []struct {
		source, target, pattern string
		want                    bool
	}{
		{"docker.io", "mirror.example", "docker.io", true},
		{"docker.io", "mirror.example", "docker.io/library", true},
		{"docker.io", "mirror.example", "*.io", true},
		{"docker.io", "mirror.example", "*.*", true},
		{"docker.io", "mirror.example", "d*.io", true},
		{"docker.io", "mirror.example", "*.*.*", false},
		{"docker.io", "mirror.example", "*", false},
		{"docker.io", "mirror.example", "docker.io:443", false},
		{"docker.io", "mirror.example", "index.docker.io", false}, // such images are docker.io's
		{"docker.io", "mirror.example", "quay.io", false},
		{"contoso.azurecr.io", "mirror.example", "*.azurecr.io", true},
		{"contoso.azurecr.io", "mirror.example", "*.azurecr.cn", false},
		{"harbor.corp:5000", "mirror.example", "harbor.corp:5000", true},
		{"harbor.corp:5000", "mirror.example", "*.corp:5000", true},
		{"harbor.corp:5000", "mirror.example", "harbor.corp", false},
		{"harbor.corp:5000", "mirror.example", "*.corp", false},
		{"[2001:db8::1]:5000", "mirror.example", "[2001:db8::1]:5000", true},
		{"*", "mirror.example", "docker.io", true},
		{"*", "mirror.example", "*.azurecr.io", true},
		{"*", "mirror.example", "mirror.example", false}, // its own credential
		{"docker.io", "docker.io", "docker.io", false},
	} {
		facts := &Facts{
			Map:    parse(t, "[[mirror]]\nsource = \""+test.source+"\"\ntargets = [\""+test.target+"\"]\n"),
			Others: []Provider{{Name: "other", Where: "config.yaml:3", Match: []string{test.pattern}}},
		}
		got := Check(facts)
		if len(got) > 1 || (len(got) == 1) != test.want {
			t.Errorf("provider with %q beside the mirror of %q at %q: %q; want a warning: %v", test.pattern, test.source, test.target, got, test.want)
		}
		if len(got) == 1 && (got[0].Name != DuplicateAnswer || !strings.Contains(got[0].Text, test.pattern) || !strings.Contains(got[0].Text, `"other"`)) {
			t.Errorf("finding %q names no provider or pattern", got[0])
		}
	}
}

// TestOwnMirror has a source with a mirror of its own beside "*": what answers
// for it does not answer for "*".
func TestOwnMirror(t *testing.T) {
	facts := &Facts{
		Map:    parse(t, "[[mirror]]\nsource = \"*\"\ntargets = [\"mirror.example\"]\n[registry.\"quay.io\"]\n"),
		Others: []Provider{{Name: "other", Match: []string{"quay.io"}}},
	}
	if got := Check(facts); len(got) > 0 {
		t.Errorf("Check = %q; want nothing", got)
	}
}

// TestManySources says how many sources a finding is about, and names few.
func TestManySources(t *testing.T) {
	text := ""
	for _, name := range []string{"a", "b", "c", "d"} {
		text += "[[mirror]]\nsource = \"" + name + ".azurecr.io\"\ntargets = [\"mirror.example/" + name + "\"]\n"
	}
	got := Check(&Facts{Map: parse(t, text), Others: []Provider{{Name: mirror.Stock, Match: []string{"*.azurecr.io"}}}})
	if len(got) != 1 || !strings.Contains(got[0].Text, `"a.azurecr.io", "b.azurecr.io" and 2 more sources`) {
		t.Errorf("Check = %q; want one finding about all four", got)
	}
}

// TestNodeDockerConfigs holds docker configurations against the kubelet's rules
// for which it reads, and what it takes from it.
func TestNodeDockerConfigs(t *testing.T) {
	const auth = `{"auth": "dTpw"}`
	file := func(path, data string) DockerFile {
		return DockerFile{Path: path, Data: []byte(data), Legacy: strings.HasSuffix(path, ".dockercfg")}
	}
	home := file("/root/.docker/config.json", `{"auths": {"docker.io": `+auth+`}}`)
	home.If = "if its $HOME is /root"
	for name, test := range map[string]struct {
		files []DockerFile
		want  string
	}{
		"first wins":      {[]DockerFile{file("/a/config.json", `{"auths": {}}`), file("/b/config.json", `{"auths": {"docker.io": `+auth+`}}`)}, ""},
		"first is broken": {[]DockerFile{file("/a/config.json", `{`), file("/b/config.json", `{"auths": {"docker.io": `+auth+`}}`)}, "/b/config.json"},
		"an auth is not base64": {
			[]DockerFile{file("/a/config.json", `{"auths": {"docker.io": `+auth+`, "x": {"auth": "%"}}}`), file("/b/config.json", `{"auths": {"https://index.docker.io/v1/": `+auth+`}}`)},
			"/b/config.json",
		},
		"an auth has no colon": {
			[]DockerFile{file("/a/config.json", `{"auths": {"docker.io": {"auth": "dXA="}}}`), file("/.dockercfg", `{"docker.io": `+auth+`}`)}, "/.dockercfg",
		},
		"legacy after all":  {[]DockerFile{file("/b/config.json", `{}`), file("/.dockercfg", `{"docker.io": `+auth+`}`)}, ""},
		"auths in a legacy": {[]DockerFile{file("/.dockercfg", `{"auths": {"docker.io": `+auth+`}}`)}, ""},
		"keys by case":      {[]DockerFile{file("/a/config.json", `{"Auths": {"docker.io": {"Username": "u", "PASSWORD": "p"}}}`)}, "/a/config.json"},
		"no credential":     {[]DockerFile{file("/a/config.json", `{"auths": {"docker.io": {}}, "credsStore": "pass"}`)}, ""},
		"a path":            {[]DockerFile{file("/a/config.json", `{"auths": {"http://docker.io/v2/library": `+auth+`}}`)}, "/a/config.json"},
		"a wildcard":        {[]DockerFile{file("/a/config.json", `{"auths": {"*.io": `+auth+`}}`)}, "/a/config.json"},
		"another port":      {[]DockerFile{file("/a/config.json", `{"auths": {"docker.io:443": `+auth+`}}`)}, ""},
		"perhaps":           {[]DockerFile{home, file("/.docker/config.json", `{"auths": {"docker.io": `+auth+`}}`)}, "/root/.docker/config.json /.docker/config.json"},
	} {
		got := Check(&Facts{Map: parse(t, hubMirror), NodeConfigs: [][]DockerFile{test.files}})
		var where []string
		for _, f := range got {
			where = append(where, f.Where)
			if f.Name != NodeDockerConfig {
				t.Errorf("%s: %q; want %s", name, f, NodeDockerConfig)
			}
		}
		if strings.Join(where, " ") != test.want {
			t.Errorf("%s: warnings about %q; want %q", name, where, test.want)
		}
	}
}

// TestCredentialFiles has each kind of credential lack what it needs.
func TestCredentialFiles(t *testing.T) {
	const one = "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io\"]\n[registry.\"contoso.azurecr.io\"]\ncredential = \"c\"\n[credential.c]\n"
	for name, test := range map[string]struct {
		text string
		file File
		want string
	}{
		"azure.json missing":    {"kind = \"azure\"\nconfig = \"/f\"", File{Err: fs.ErrNotExist}, AzureJSONMissing},
		"azure.json unreadable": {"kind = \"azure\"\nconfig = \"/f\"", File{Err: fs.ErrPermission}, AzureJSONInvalid},
		"azure.json invalid":    {"kind = \"azure\"\nconfig = \"/f\"", File{Fault: "the file is empty"}, AzureJSONInvalid},
		"azure.json there":      {"kind = \"azure\"\nconfig = \"/f\"", File{Mode: 0o644}, ""},
		"docker config missing": {"kind = \"docker-config\"\npath = \"/f\"", File{Err: fs.ErrNotExist}, DockerConfigMissing},
		"docker config open":    {"kind = \"docker-config\"\npath = \"/f\"", File{Mode: 0o640}, DockerConfigMode},
		"docker config invalid": {"kind = \"docker-config\"\npath = \"/f\"", File{Mode: 0o600, Fault: "1: not JSON; write it"}, DockerConfigInvalid},
		"docker config there":   {"kind = \"docker-config\"\npath = \"/f\"", File{Mode: 0o600}, ""},
		"command missing":       {"kind = \"exec\"\ncommand = \"/f\"", File{Err: fs.ErrNotExist}, ExecMissing},
		"command a directory":   {"kind = \"exec\"\ncommand = \"/f\"", File{Mode: fs.ModeDir | 0o755}, ExecMissing},
		"command not a program": {"kind = \"exec\"\ncommand = \"/f\"", File{Mode: 0o644}, ExecMissing},
		"command there":         {"kind = \"exec\"\ncommand = \"/f\"", File{Mode: 0o755}, ""},
	} {
		test.file.Path = "/root/f"
		got := Check(&Facts{Map: parse(t, one+test.text+"\n"), Files: map[string]File{"/f": test.file}})
		want := ""
		if test.want != "" {
			want = test.want + " /root/f\n"
		}
		if strings.HasPrefix(test.file.Fault, "1: ") {
			want = test.want + " /root/f:1\n"
		}
		if names(got) != want {
			t.Errorf("%s: found %q; want %q", name, got, want)
		}
		for _, f := range got {
			if f.Repair == "" || !strings.Contains(f.Text, `"quay.io"`) {
				t.Errorf("%s: %q says no repair, or not which pulls fail", name, f)
			}
		}
	}
}

// TestFaultPlace checks that a fault's line follows its file, which is named once.
func TestFaultPlace(t *testing.T) {
	const text = "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"a.corp\"]\n[registry.\"a.corp\"]\ncredential = \"c\"\n[credential.c]\nkind = \"docker-config\"\npath = \"/f\"\n"
	for fault, want := range map[string]string{
		"12: not JSON; write it":                   "/root/f:12: not JSON, so ",
		"/root/f is a Kubernetes Secret; write it": "/root/f: it is a Kubernetes Secret, so ",
		"the file is empty; write it":              "/root/f: the file is empty, so ",
	} {
		got := Check(&Facts{Map: parse(t, text), Files: map[string]File{"/f": {Path: "/root/f", Mode: 0o600, Fault: fault}}})
		if len(got) != 1 || !strings.HasPrefix(got[0].String(), want) || got[0].Repair != "write it" {
			t.Errorf("with the fault %q: found %v; want %q", fault, got, want)
		}
	}
}

func TestMachine(t *testing.T) {
	m := parse(t, hubMirror)
	const config, binDir = mirror.DefaultKubeletConfig, mirror.DefaultBinDir
	for name, test := range map[string]struct {
		facts Facts
		want  string
	}{
		"flags":           {Facts{Flags: &Flags{Unit: "/u", Configs: []string{config}, BinDirs: []string{"/x", binDir + "/"}}}, ""},
		"no flags":        {Facts{Flags: &Flags{Unit: "/u"}}, FlagsMissing + " /u\n"},
		"other directory": {Facts{Flags: &Flags{Unit: "/u", Configs: []string{config}, BinDirs: []string{"/x"}}}, FlagsMissing + " /u\n"},
		"leftovers":       {Facts{Leftovers: []Leftover{{Dir: "/old", Namespaces: []string{"a", "b", "c", "d", "e", "f"}}}}, HostsDirLeftovers + " /old\n"},
		"gone":            {Facts{Leftovers: []Leftover{{Dir: "/old"}}}, ""},
	} {
		test.facts.Map = m
		if got := Check(&test.facts); names(got) != test.want {
			t.Errorf("%s: found %q; want %q", name, got, test.want)
		}
	}
}
