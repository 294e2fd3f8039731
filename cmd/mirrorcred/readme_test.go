package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestReadme puts mirrorcred on a node as the README says, in its order: it
// writes the files, runs the commands, and has a kubelet that starts only if the
// files that its flags name are there.
func TestReadme(t *testing.T) {
	for _, version := range []string{"2", "3", "4"} {
		t.Run("version "+version, func(t *testing.T) {
			n := newReader(t)
			n.install(version)
			out, code := n.run("mirrorcred apply")
			if code != 0 || out != "in sync: 1 source\n" {
				t.Errorf("in the end mirrorcred apply exits with %d and prints %q", code, out)
			}
			n.wantSystemctl("restart containerd", "restart kubelet", "daemon-reload", "enable --now mirrorcred.service")
		})
	}
}

// TestUninstall takes mirrorcred off that node again by hand. The kubelet starts at each
// step, and nothing of mirrorcred's is left.
func TestUninstall(t *testing.T) {
	n := newReader(t)
	before := n.tree()
	n.install("3")
	n.custom()
	n.follow(section(t, readDocument(t, "docs/uninstall.md"), "By hand"), nil)
	for _, name := range n.tree() {
		// What the node had before, with the README's settings.
		if !slices.Contains(before, name) && !slices.Contains([]string{"/etc/containerd/config.toml", "/etc/default/kubelet"}, name) {
			t.Errorf("%s is left", name)
		}
	}
	n.wantSystemctl("disable --now mirrorcred.service mirrorcred-apply.service", "stop mirrorcred-deliver.path mirrorcred-deliver.service", "restart kubelet", "daemon-reload")
}

// TestUninstallBootstrap takes mirrorcred off a node that bootstrap has set up.
func TestUninstallBootstrap(t *testing.T) {
	n := newReader(t)
	n.write("/etc/containerd/config.toml", "version = 3\n")
	n.write("/usr/lib/systemd/system/kubelet.service", "[Service]\nEnvironmentFile=-/etc/default/kubelet\nExecStart=/usr/bin/kubelet $KUBELET_EXTRA_ARGS\n")
	n.bringPrograms()
	before := n.tree()
	n.write("/etc/mirrorcred/mirrors.toml", "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n")
	n.run("mirrorcred bootstrap bake")
	n.run("mirrorcred bootstrap join")
	n.custom()
	n.follow(section(t, readDocument(t, "docs/uninstall.md"), "With one command"), nil)
	if after := n.tree(); !slices.Equal(after, before) {
		t.Errorf("in the end there is %q, and before there was %q", after, before)
	}
}

// TestUpgrade replaces the programs on that node. The plugin is there after each
// command, and the node still matches its map.
func TestUpgrade(t *testing.T) {
	n := newReader(t)
	n.install("3")
	n.write("bin/mirror-credential-provider", "#!/bin/sh\n# new\n")
	plugin := filepath.Join(n.root, "var/lib/kubelet/credential-provider/mirror-credential-provider")
	n.do("../../docs/upgrade.md", func(line string) {
		if info, err := os.Stat(plugin); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("after %q the plugin is missing: %v", line, err)
		}
	})
	if data, err := os.ReadFile(plugin); err != nil || !strings.Contains(string(data), "# new") {
		t.Errorf("in the end the plugin is %q: %v", data, err)
	}
	if entries, err := os.ReadDir(filepath.Dir(plugin)); err != nil || len(entries) != 1 {
		t.Errorf("in the end there is more beside the plugin: %v %v", entries, err)
	}
	if out, code := n.run("mirrorcred apply"); code != 0 || out != "in sync: 1 source\n" {
		t.Errorf("in the end mirrorcred apply exits with %d and prints %q", code, out)
	}
	n.wantSystemctl("daemon-reload", "try-restart mirrorcred.service")
}

// TestInstallPackage gives the kubelet the plugin of a package.
func TestInstallPackage(t *testing.T) {
	n := newReader(t)
	n.write("/usr/libexec/mirrorcred/mirror-credential-provider", "#!/bin/sh\n# of the package\n")
	n.do("../../docs/install.md", nil)
	if got := n.read("/var/lib/kubelet/credential-provider/mirror-credential-provider"); !strings.Contains(got, "# of the package") {
		t.Errorf("the kubelet has the plugin %q", got)
	}
}

// TestPackagedExamples holds that each example in a package is a map.
func TestPackagedExamples(t *testing.T) {
	files, err := filepath.Glob("../../deploy/examples/*.toml")
	if err != nil || len(files) < 3 {
		t.Fatalf("found %q, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := mirror.Parse(filepath.Base(file), data); err != nil {
			t.Error(err)
		}
	}
}

// A reader does what a document says, on a node below another root.
type reader struct {
	t         *testing.T
	root      string
	systemctl []string // what it was asked for since the last look
}

// install does what the README says, with one of its configurations of containerd.
func (n *reader) install(version string) {
	n.t.Helper()
	n.write("/etc/containerd/config.toml", "version = "+version+"\n")
	n.do("../../README.md", nil)
}

// do writes the files that a document names, and runs its commands, in the order
// of the document. Of several configurations of containerd it takes the one with
// the version of the node's. after is called after each command.
func (n *reader) do(document string, after func(line string)) {
	n.t.Helper()
	data, err := os.ReadFile(document)
	if err != nil {
		n.t.Fatal(err)
	}
	n.follow(string(data), after)
}

// bringPrograms puts both programs into one directory, from which bootstrap copies them.
func (n *reader) bringPrograms() {
	n.t.Helper()
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		n.t.Fatal(err)
	}
	n.write("download/mirrorcred", string(data))
	n.write("download/mirror-credential-provider", "#!/bin/sh\n")
	n.write("shim/mirrorcred", strings.ReplaceAll(n.read("shim/mirrorcred"), self, filepath.Join(n.root, "download/mirrorcred")))
}

// custom adds what an operator may have written beside the map.
func (n *reader) custom() {
	n.write("/etc/default/mirrorcred", "MIRRORCRED_FLAGS=--restart-kubelet\n")
	n.write("/etc/systemd/system/mirrorcred-deliver.service.d/override.conf", "[Service]\n")
}

// follow is [reader.do] for a part of a document.
func (n *reader) follow(text string, after func(line string)) {
	n.t.Helper()
	n.systemctl = nil
	for _, b := range blocks(text) {
		switch file := b.file(); {
		case file == "/etc/containerd/config.toml" && !strings.HasPrefix(b.body(), n.read(file)):
		case file != "":
			n.write(file, b.text)
		case b.language == "sh":
			for line := range strings.Lines(strings.ReplaceAll(b.text, "\\\n", " ")) {
				n.run(strings.TrimSpace(line))
				if after != nil {
					after(line)
				}
			}
		}
	}
}

// wantSystemctl checks what systemctl was asked for by the last document.
func (n *reader) wantSystemctl(want ...string) {
	n.t.Helper()
	if !slices.Equal(n.systemctl, want) {
		n.t.Errorf("systemctl was run for %q; want %q", n.systemctl, want)
	}
}

// tree returns the paths of all files on the node.
func (n *reader) tree() []string {
	n.t.Helper()
	var names []string
	for _, dir := range []string{"etc", "usr", "var", "run"} {
		err := filepath.WalkDir(filepath.Join(n.root, dir), func(path string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				names = append(names, strings.TrimPrefix(path, n.root))
			}
			if errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
			return err
		})
		if err != nil {
			n.t.Fatal(err)
		}
	}
	return names
}

func (n *reader) read(name string) string {
	n.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.root, name))
	if err != nil {
		n.t.Fatal(err)
	}
	return string(data)
}

func newReader(t *testing.T) *reader {
	n := &reader{t: t, root: t.TempDir()}
	n.write("/etc/default/kubelet", "")
	for _, name := range []string{"bin/mirrorcred", "bin/mirror-credential-provider"} {
		n.write(name, "#!/bin/sh\n")
	}
	n.write("/etc/kubernetes/azure.json", `{"tenantId": "contoso", "useManagedIdentityExtension": true}`)
	if err := os.Mkdir(filepath.Join(n.root, "shim"), 0o755); err != nil {
		t.Fatal(err)
	}
	// mirrorcred is this very binary, see TestMain.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n.write("shim/mirrorcred", fmt.Sprintf("#!/bin/sh\ncommand=$1; shift\nMIRRORCRED_TEST_MAIN=1 exec %s $command --root %s \"$@\"\n", self, n.root))
	for _, name := range []string{"make", "systemd-tmpfiles"} {
		n.write("shim/"+name, "#!/bin/sh\n")
	}
	return n
}

func (n *reader) write(name, text string) {
	n.t.Helper()
	path := filepath.Join(n.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		n.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		n.t.Fatal(err)
	}
}

// absolute matches the paths of the node in a command line.
var absolute = regexp.MustCompile(`(^|\s)/(etc|usr|var|run)/`)

// run runs a line of a script, and returns its output and exit code. Each
// has to succeed.
func (n *reader) run(line string) (string, int) {
	n.t.Helper()
	if request, ok := strings.CutPrefix(line, "systemctl "); ok {
		n.systemctl = append(n.systemctl, request)
		if request == "restart kubelet" {
			n.startKubelet()
		}
		return "", 0
	}
	cmd := exec.Command("sh", "-c", absolute.ReplaceAllString(line, "${1}"+n.root+"/$2/"))
	cmd.Dir = n.root
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(n.root, "shim")+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	code := cmd.ProcessState.ExitCode()
	if err != nil {
		n.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out), code
}

// startKubelet fails if a kubelet would end at its start: its configuration, the
// directory of its plugins or one of these is missing.
func (n *reader) startKubelet() {
	n.t.Helper()
	flags := n.read("etc/default/kubelet")
	if !strings.Contains(flags, "--image-credential-provider-") {
		return
	}
	value := func(flag string) string {
		m := regexp.MustCompile("--" + flag + `=([^\s"]+)`).FindStringSubmatch(flags)
		if m == nil {
			n.t.Fatalf("the kubelet is restarted without --%s: %s", flag, flags)
		}
		return filepath.Join(n.root, m[1])
	}
	data, err := os.ReadFile(value("image-credential-provider-config"))
	if err != nil {
		n.t.Fatalf("the kubelet does not start: %v", err)
	}
	var config struct{ Providers []struct{ Name string } }
	if err := yaml.Unmarshal(data, &config); err != nil || len(config.Providers) == 0 {
		n.t.Fatalf("the kubelet does not start: %v: %s", err, data)
	}
	for _, p := range config.Providers {
		if info, err := os.Stat(filepath.Join(value("image-credential-provider-bin-dir"), p.Name)); err != nil || info.Mode()&0o111 == 0 {
			n.t.Fatalf("the kubelet does not start: plugin %s: %v", p.Name, err)
		}
	}
}
