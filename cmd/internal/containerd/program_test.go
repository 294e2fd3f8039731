package containerd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
)

// TestVersionOf checks what tells the version of containerd in build information,
// and in which order.
func TestVersionOf(t *testing.T) {
	flags := func(s string) []debug.BuildSetting { return []debug.BuildSetting{{Key: "-ldflags", Value: s}} }
	const v2, v1 = "github.com/containerd/containerd/v2", "github.com/containerd/containerd"
	for name, test := range map[string]struct {
		info           debug.BuildInfo
		version, major string
	}{
		"linker":        {debug.BuildInfo{Main: debug.Module{Path: v2, Version: "(devel)"}, Settings: flags("-X " + v2 + "/version.Version=v2.2.9 -X " + v2 + "/version.Revision=abc")}, "v2.2.9", "2"},
		"linker, first": {debug.BuildInfo{Main: debug.Module{Path: v2, Version: "v2.4.2"}, Settings: flags("-s -w -X " + v2 + "/version.Version=2.3.7+unknown")}, "2.3.7+unknown", "2"},
		"quoted":        {debug.BuildInfo{Main: debug.Module{Path: v1}, Settings: flags(`-X '` + v1 + `/version.Version=1.7.35~ds1' -X=` + v1 + `/version.Package=x`)}, "1.7.35~ds1", "1"},
		"equals":        {debug.BuildInfo{Main: debug.Module{Path: v1}, Settings: flags("-X=" + v1 + "/version.Version=1.7.35")}, "1.7.35", "1"},
		"the last":      {debug.BuildInfo{Main: debug.Module{Path: v2}, Settings: flags("-X " + v2 + "/version.Version=v2.0.1 -X " + v2 + "/version.Version=v2.0.2")}, "v2.0.2", "2"},
		"another's":     {debug.BuildInfo{Main: debug.Module{Path: v2, Version: "v2.1.9"}, Settings: flags("-X github.com/other/tool/version.Version=v9")}, "v2.1.9", "2"},
		"module":        {debug.BuildInfo{Main: debug.Module{Path: v2, Version: "v2.1.9"}}, "v2.1.9", "2"},
		"a commit":      {debug.BuildInfo{Main: debug.Module{Path: v2, Version: "v2.2.10-0.20260101000000-0123456789ab"}}, "v2.2.10-0.20260101000000-0123456789ab", "2"},
		"no tag":        {debug.BuildInfo{Main: debug.Module{Path: v2, Version: "v2.0.0-20260101000000-0123456789ab"}}, "", "2"},
		"(devel)":       {debug.BuildInfo{Main: debug.Module{Path: v1, Version: "(devel)"}}, "", "1"},
		"in another": {debug.BuildInfo{
			Main: debug.Module{Path: "github.com/k3s-io/k3s"},
			Deps: []*debug.Module{{Path: v2, Version: "v2.1.5", Replace: &debug.Module{Path: "github.com/k3s-io/containerd/v2", Version: "v2.1.5-k3s1"}}},
		}, "v2.1.5-k3s1", "2"},
		"none": {debug.BuildInfo{Main: debug.Module{Path: "example.com/tool", Version: "v1.7.3"}}, "", ""},
	} {
		if version, major := versionOf(&test.info); version != test.version || major != test.major {
			t.Errorf("%s: versionOf = %q, %q; want %q, %q", name, version, major, test.version, test.major)
		}
	}
}

// TestInstalled builds programs as containerd's packages do, and judges files
// that each line reads otherwise.
func TestInstalled(t *testing.T) {
	src := t.TempDir()
	for name, text := range map[string]string{
		"go.mod":             "module github.com/containerd/containerd/v2\n\ngo 1.26\n",
		"version/version.go": "package version\n\nvar Version = \"2.0.0+unknown\"\n",
		"main.go":            "package main\n\nimport \"github.com/containerd/containerd/v2/version\"\n\nfunc main() { panic(version.Version) }\n",
	} {
		name = filepath.Join(src, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	built := map[string]string{}
	build := func(b box, place string, args ...string) {
		b.Helper()
		b.do(os.MkdirAll(filepath.Dir(b.path(place)), 0o755))
		key := strings.Join(args, " ")
		if from, ok := built[key]; ok {
			b.do(os.Link(from, b.path(place))) // a symbolic one would lead out of the root
			return
		}
		built[key] = filepath.Join(src, fmt.Sprint("built", len(built)))
		cmd := exec.Command("go", append(append([]string{"build"}, args...), "-o", built[key], ".")...)
		cmd.Dir, cmd.Env = src, append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("go build: %v\n%s", err, out)
		}
		b.do(os.Link(built[key], b.path(place)))
	}
	const stamped = "-ldflags=-X github.com/containerd/containerd/v2/version.Version="
	const usual = "/usr/local/bin/containerd"
	for name, test := range map[string]struct {
		file  string
		inMap string
		setUp func(b box)
		want  string
		is    string // the version, "" for one that does not matter
	}{
		"2.3 reads the old table":          {file: "version = 3\n" + oldTable + right, setUp: func(b box) { build(b, usual, stamped+"v2.3.7") }},
		"2.2 does not":                     {file: "version = 3\n" + oldTable + right, setUp: func(b box) { build(b, usual, stamped+"v2.2.9") }, want: "config.toml"},
		"it counts before the map":         {file: "version = 3\n" + oldTable + right, inMap: "2.2", setUp: func(b box) { build(b, usual, stamped+"v2.3.7") }, is: "v2.3.7"},
		"the map is rendered for more":     {file: "version = 3\n" + images + right, inMap: "2.4", setUp: func(b box) { build(b, usual, stamped+"v2.2.9") }, want: "containerd v2.2.9 is installed, but the map has version"},
		"without a stamp the map counts":   {file: "version = 3\n" + oldTable + right, inMap: "2.4", setUp: func(b box) { build(b, usual, "-trimpath", stamped+"v2.2.9") }, is: "2.4"},
		"but not against the module":       {file: "version = 2\n" + images + right, inMap: "1.7", setUp: func(b box) { build(b, usual, "-trimpath") }},
		"the module alone leaves 1.7 out":  {file: "version = 2\n" + images + right, setUp: func(b box) { build(b, usual, "-trimpath") }},
		"nothing installed, nothing known": {file: "version = 2\n" + images + right, want: "config.toml"},
		"nothing installed, the map says":  {file: "version = 2\n" + images + right, inMap: "2.0", is: "2.0"},
		"a script":                         {file: "version = 2\n" + images + right, want: "config.toml", setUp: func(b box) { b.write(usual, "#!/bin/sh\nexec false\n") }},
		"two of them": {file: "version = 3\n" + oldTable + right, want: "config.toml", setUp: func(b box) {
			build(b, usual, stamped+"v2.3.7")
			build(b, "/usr/bin/containerd", stamped+"v2.2.9")
		}},
		"the one of the unit": {file: "version = 3\n" + oldTable + right, setUp: func(b box) {
			build(b, "/opt/containerd/bin/containerd", stamped+"v2.3.7")
			build(b, usual, stamped+"v2.2.9")
			b.write("/usr/lib/systemd/system/containerd.service", "[Service]\nExecStart=/usr/local/bin/containerd\n")
			b.write("/etc/systemd/system/containerd.service.d/10.conf", "[Service]\nExecStart=\nExecStart=-/opt/containerd/bin/containerd\n")
		}},
		"the configuration of the unit": {file: "version = 3\n" + images + wrong, setUp: func(b box) {
			b.write("/other.toml", "version = 3\n"+images+right)
			b.write("/etc/systemd/system/containerd.service", "[Unit]\nExecStart=/no\n[Service]\nExecStart=/usr/bin/containerd \\\n  --log-level=info \\\n  -c /other.toml\n")
		}},
		"which its environment names": {file: "version = 3\n" + images + wrong, setUp: func(b box) {
			b.write("/other.toml", "version = 3\n"+images+right)
			b.write("/etc/default/containerd", "ARGS=\"-c /other.toml\"\n")
			b.write("/etc/systemd/system/containerd.service", "[Service]\nEnvironmentFile=-/etc/default/containerd\nExecStart=/usr/bin/containerd $ARGS\n")
		}},
		"a variable of unknown origin": {file: "version = 3\n" + images + wrong, want: "config.toml", setUp: func(b box) {
			b.write("/etc/systemd/system/containerd.service", "[Service]\nExecStart=/usr/bin/containerd -c /other.toml $ARGS\n")
			b.write("/other.toml", "version = 3\n"+images+right)
		}},
		"which is not there": {file: "version = 3\n" + images + right, want: "containerd does not start without its configuration: ", setUp: func(b box) {
			b.write("/etc/systemd/system/containerd.service", "[Service]\nExecStart=/usr/bin/containerd -c /other.toml\n")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			b.Offline = true
			b.write(mainFile, test.file)
			b.Wanted.Version = test.inMap
			if test.setUp != nil {
				test.setUp(b)
			}
			if v := b.verdict(test.want); test.is != "" && v.Version != test.is {
				t.Errorf("the version is %q; want %q", v.Version, test.is)
			}
		})
	}
}
