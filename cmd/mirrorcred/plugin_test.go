package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A placed is a node below a root, with a plugin to install.
type placed struct {
	t         *testing.T
	root      string
	built     []byte
	installed string // a file with built
}

func newPlaced(t *testing.T) *placed {
	p := &placed{t: t, root: t.TempDir(), installed: filepath.Join(t.TempDir(), "plugin")}
	if out, err := exec.Command("go", "build", "-o", p.installed, "../mirror-credential-provider").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var err error
	if p.built, err = os.ReadFile(p.installed); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *placed) write(name string, data []byte) {
	p.t.Helper()
	path := filepath.Join(p.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func (p *placed) read(name string) []byte {
	p.t.Helper()
	data, err := os.ReadFile(filepath.Join(p.root, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return data
}

// run runs the command plugin; its paths are those of the node.
func (p *placed) run(args ...string) (string, error) {
	var out bytes.Buffer
	err := run(p.t.Context(), append([]string{"plugin", "--root", p.root}, args...), &out)
	return strings.ReplaceAll(out.String(), p.root, ""), err
}

const (
	usualCopy   = "/var/lib/kubelet/credential-provider/mirror-credential-provider"
	usualConfig = "/var/lib/kubelet/credential-provider-config.yaml"
)

// providerFile is a kubelet's configuration with one entry.
func providerFile(name string) []byte {
	return []byte("# mirror-credential-provider was here\napiVersion: kubelet.config.k8s.io/v1\nkind: CredentialProviderConfig\nproviders:\n- name: " + name +
		"\n  apiVersion: credentialprovider.kubelet.k8s.io/v1\n  matchImages: [x.example]\n  defaultCacheDuration: 0s\n")
}

// TestPluginRefresh replaces the copies that are mirrorcred's, wherever a kubelet
// has them, and nothing else.
func TestPluginRefresh(t *testing.T) {
	p := newPlaced(t)
	old := append(bytes.Clone(p.built), "an older build"...)
	p.write(usualCopy, old)
	p.write("/var/lib/kubelet/credential-provider/acr-credential-provider", []byte("#!/bin/sh\n"))
	// Named by the kubelet's flags, and there as a stand-in.
	p.write("/etc/default/kubelet", []byte("KUBELET_EXTRA_ARGS=--image-credential-provider-bin-dir=/opt/plugins\n"))
	p.write("/opt/plugins/acr-credential-provider", old)
	// Named by the map, and a link to the package's.
	p.write("/etc/mirrorcred/mirrors.toml", []byte("version = 1\n[kubelet]\nbin_dir = \"/opt/linked\"\n"))
	p.write("/usr/libexec/mirrorcred/mirror-credential-provider", old)
	p.write("/opt/linked/README", nil)
	if err := os.Symlink("/usr/libexec/mirrorcred/mirror-credential-provider", filepath.Join(p.root, "opt/linked/mirror-credential-provider")); err != nil {
		t.Fatal(err)
	}
	// What an interrupted refresh left.
	p.write("/var/lib/kubelet/credential-provider/.mirrorcred-unrelated", []byte("kept"))

	running, err := os.Open(filepath.Join(p.root, usualCopy))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()
	if out, err := p.run("-n", "--refresh", p.installed); err != nil || out != "would write /opt/plugins/acr-credential-provider\nwould write "+usualCopy+"\n" || bytes.Equal(p.read(usualCopy), p.built) {
		t.Errorf("a dry run printed %q, %v, or wrote", out, err)
	}
	out, err := p.run("--refresh", p.installed)
	if want := "wrote /opt/plugins/acr-credential-provider\nwrote " + usualCopy + "\n"; err != nil || out != want {
		t.Errorf("refresh printed %q, %v; want %q", out, err, want)
	}
	for _, name := range []string{usualCopy, "/opt/plugins/acr-credential-provider"} {
		info, err := os.Stat(filepath.Join(p.root, name))
		if err != nil || info.Mode().Perm() != 0o755 || !bytes.Equal(p.read(name), p.built) {
			t.Errorf("%s is not the new plugin, executable: %v", name, err)
		}
	}
	if string(p.read("/var/lib/kubelet/credential-provider/acr-credential-provider")) != "#!/bin/sh\n" {
		t.Error("another vendor's plugin was replaced")
	}
	if !bytes.Equal(p.read("/usr/libexec/mirrorcred/mirror-credential-provider"), old) {
		t.Error("what a link leads to was replaced")
	}
	was, errWas := running.Stat()
	now, errNow := os.Stat(filepath.Join(p.root, usualCopy))
	if errWas != nil || errNow != nil || os.SameFile(was, now) {
		t.Error("the plugin was written in place, under a kubelet that may be starting it")
	}
	if out, err := p.run("--refresh", p.installed); err != nil || out != "" {
		t.Errorf("a second refresh printed %q, %v; want nothing", out, err)
	}
	if entries, err := os.ReadDir(filepath.Join(p.root, filepath.Dir(usualCopy))); err != nil || len(entries) != 3 {
		t.Errorf("beside the plugin there is %v, %v; want no temporary file", entries, err)
	}
}

// TestPluginRefreshRefuses holds that only a build of the plugin is installed, and
// that a node without a copy gets none.
func TestPluginRefreshRefuses(t *testing.T) {
	p := newPlaced(t)
	if out, err := p.run("--refresh", p.installed); err != nil || out != "" {
		t.Errorf("refresh on a node without the plugin: %q, %v; want nothing", out, err)
	}
	p.write(usualCopy, append(bytes.Clone(p.built), "an older build"...))
	before := p.read(usualCopy)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		self:                  "not a build of mirror-credential-provider; name the one that was installed",
		"/etc/passwd":         "not a build of mirror-credential-provider; ",
		p.root + "/not/there": "no such file or directory",
	} {
		if _, err := p.run("--refresh", file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("refresh with %s: %v; want %q", file, err, want)
		}
	}
	if !bytes.Equal(p.read(usualCopy), before) {
		t.Error("the plugin was replaced")
	}
	if _, err := p.run("-n"); err == nil {
		t.Error("-n alone: no error")
	}
	if _, err := p.run("--refresh", p.installed, "--unused"); err == nil {
		t.Error("--refresh and --unused together: no error")
	}
}

// TestPluginUnused finds the plugin in each place where a kubelet's configuration
// may be, and does not take a comment or another provider for it.
func TestPluginUnused(t *testing.T) {
	const remedy = "run \"mirrorcred bootstrap undo\""
	broken := []byte("providers:\n- name: mirror-credential-provider\n  nonsense: [\n")
	for name, test := range map[string]struct {
		files map[string][]byte
		want  string // "" for unused
	}{
		"nothing":          {nil, ""},
		"another provider": {map[string][]byte{usualConfig: providerFile("acr-credential-provider")}, ""},
		"usual":            {map[string][]byte{usualConfig: providerFile("mirror-credential-provider")}, usualConfig + ":5"},
		"of a token":       {map[string][]byte{usualConfig: providerFile("mirror-credential-provider-workload")}, usualConfig + ":5"},
		"damaged":          {map[string][]byte{usualConfig: broken}, usualConfig + ":2"},
		"EKS":              {map[string][]byte{"/etc/eks/image-credential-provider/mirrorcred.yaml": providerFile("mirror-credential-provider")}, "/etc/eks/image-credential-provider/mirrorcred.yaml:5"},
		"k3s":              {map[string][]byte{"/var/lib/rancher/credentialprovider/config.yaml": providerFile("mirror-credential-provider")}, "/var/lib/rancher/credentialprovider/config.yaml:5"},
		"by the map": {map[string][]byte{
			"/etc/mirrorcred/mirrors.toml": []byte("version = 1\n[kubelet]\nconfig = \"/opt/kubelet.yaml\"\n"), "/opt/kubelet.yaml": providerFile("mirror-credential-provider"),
		}, "/opt/kubelet.yaml:5"},
		"by a flag, with a map that has a fault": {map[string][]byte{
			"/etc/mirrorcred/mirrors.toml": []byte("version = 7\n"), "/opt/kubelet.yaml": providerFile("mirror-credential-provider"),
			"/etc/systemd/system/kubelet.service.d/10-flags.conf": []byte("[Service]\nEnvironment=\"X=--image-credential-provider-config=/opt/kubelet.yaml\"\n"),
		}, "/opt/kubelet.yaml:5"},
		"a FIFO's place": {map[string][]byte{usualConfig + "/a.yaml/b": nil}, "a.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &placed{t: t, root: t.TempDir()}
			for file, data := range test.files {
				p.write(file, data)
			}
			_, err := p.run("--unused")
			switch {
			case test.want == "" && err != nil:
				t.Errorf("in use: %v", err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v; want %s", err, test.want)
			case strings.Contains(test.want, ":") && !strings.Contains(err.Error(), remedy):
				t.Errorf("%v does not say what to run", err)
			}
		})
	}
}

// TestPluginShows prints what --unused and --refresh go by.
func TestPluginShows(t *testing.T) {
	p := newPlaced(t)
	if out, err := p.run(); err != nil || out != "no kubelet here has the plugin\n" {
		t.Errorf("on an empty node: %q, %v", out, err)
	}
	p.write(usualCopy, p.built)
	p.write("/var/lib/kubelet/credential-provider/acr-credential-provider", []byte("#!/bin/sh\n"))
	p.write(usualConfig, providerFile("mirror-credential-provider"))
	out, err := p.run()
	if want := usualConfig + ":5 names mirror-credential-provider\n" + usualCopy + " is mirrorcred's plugin\n/var/lib/kubelet/credential-provider/acr-credential-provider is another program, or a link\n"; err != nil || out != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
	out, err = p.run("--json")
	if want := `{"named":[{"file":"` + usualConfig + `","line":5,"name":"mirror-credential-provider"}],"copies":[{"path":"` + usualCopy + `","ours":true},{"path":"/var/lib/kubelet/credential-provider/acr-credential-provider","ours":false}]}` + "\n"; err != nil || out != want {
		t.Errorf("as JSON: %q, %v; want %q", out, err, want)
	}
}
