package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// A host is a tree that packages are installed in, with a shell for their scripts
// and nothing else. dpkg and rpm change their root to it for each script.
type host struct {
	t    *testing.T
	root string
}

func newHost(t *testing.T) *host {
	if os.Getuid() != 0 {
		t.Fatal("packages are installed by root: run this test as root")
	}
	h := &host{t, t.TempDir()}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm", "tmp", "dev", "etc"} {
		h.must(os.MkdirAll(filepath.Join(h.root, dir), 0o755))
	}
	for _, file := range []string{"status", "available"} {
		h.write("/var/lib/dpkg/"+file, "")
	}
	for _, program := range []string{"/bin/sh", "/bin/rm"} {
		h.bring(program)
	}
	return h
}

// bring copies a program of this machine, with its libraries, to where dpkg looks
// for it.
func (h *host) bring(program string) {
	h.t.Helper()
	out, err := exec.Command("ldd", program).Output()
	h.must(err)
	files := []string{program}
	for _, word := range strings.Fields(string(out)) {
		if filepath.IsAbs(word) {
			files = append(files, word)
		}
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		h.must(err)
		h.must(os.MkdirAll(filepath.Join(h.root, filepath.Dir(file)), 0o755))
		h.must(os.WriteFile(filepath.Join(h.root, file), data, 0o755))
	}
}

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.root, name)
	h.must(os.MkdirAll(filepath.Dir(path), 0o755))
	h.must(os.WriteFile(path, []byte(text), 0o644))
}

func (h *host) exists(name string) bool {
	_, err := os.Lstat(filepath.Join(h.root, name))
	return err == nil
}

// same reports whether two files, of this machine, have the same bytes.
func (h *host) same(a, b string) bool {
	h.t.Helper()
	one, err := os.ReadFile(a)
	h.must(err)
	other, err := os.ReadFile(b)
	h.must(err)
	return bytes.Equal(one, other)
}

// run runs a program without a terminal and without input.
func (h *host) run(args ...string) (string, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (h *host) ok(args ...string) {
	h.t.Helper()
	if out, err := h.run(args...); err != nil {
		h.t.Fatalf("%q: %v\n%s", args, err, out)
	}
}

// apply runs the manager that is installed, on the node in the tree.
func (h *host) apply() {
	h.t.Helper()
	h.ok(filepath.Join(h.root, managerPath), "apply", "--root", h.root)
}

// A manager is how a package is installed and removed.
type manager struct {
	file    func(r release) string
	install func(h *host, file string) []string // installs or upgrades
	remove  func(h *host) []string
	purge   func(h *host) []string // nil if there is no such thing
	zsh     string
}

var managers = map[string]manager{
	"deb": {
		file: func(r release) string { return "mirrorcred_" + r.packaged + "_" + runtime.GOARCH + ".deb" },
		install: func(h *host, file string) []string {
			return []string{"dpkg", "--root=" + h.root, "--force-not-root", "--log=/dev/null", "-i", file}
		},
		remove: func(h *host) []string { return []string{"dpkg", "--root=" + h.root, "--log=/dev/null", "-r", name} },
		purge:  func(h *host) []string { return []string{"dpkg", "--root=" + h.root, "--log=/dev/null", "-P", name} },
		zsh:    "/usr/share/zsh/vendor-completions/_mirrorcred",
	},
	"rpm": {
		file: func(r release) string {
			return "mirrorcred-" + r.packaged + "-1." + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + ".rpm"
		},
		// The tree has a shell that no package brought.
		install: func(h *host, file string) []string {
			return []string{"rpm", "--root", h.root, "--nodeps", "-U", file}
		},
		remove: func(h *host) []string { return []string{"rpm", "--root", h.root, "-e", name} },
		zsh:    "/usr/share/zsh/site-functions/_mirrorcred",
	},
}

const (
	copyPath   = "/var/lib/kubelet/credential-provider/" + plugin
	configPath = "/var/lib/kubelet/credential-provider-config.yaml"
	mapPath    = "/etc/mirrorcred/mirrors.toml"
)

// TestPackageLifecycle installs a package, sets the node up, upgrades it, and tries to remove
// it too early; then it takes mirrorcred off the node and removes the package.
func TestPackageLifecycle(t *testing.T) {
	for format, m := range managers {
		t.Run(format, func(t *testing.T) {
			h := newHost(t)
			file := func(r release) string { return filepath.Join(dirs[r.version], m.file(r)) }

			h.ok(m.install(h, file(older))...)
			h.wantInstalled(m)
			h.setUp()
			edited := h.edit()

			h.ok(m.install(h, file(newer))...)
			h.wantUpgraded(edited)

			// A kubelet's configuration names the plugin: the package stays.
			before := h.tree()
			out, err := h.run(m.remove(h)...)
			if err == nil || !strings.Contains(out, configPath+":") || !strings.Contains(out, "mirrorcred bootstrap undo") {
				t.Errorf("removal: %v\n%s\nwant a refusal that names %s and what to run", err, out, configPath)
			}
			if after := h.tree(); after != before {
				t.Errorf("the removal was refused, and changed the tree from\n%s\nto\n%s", before, after)
			}

			h.undo()
			h.ok(m.remove(h)...)
			h.wantRemoved()
			if m.purge != nil {
				h.ok(m.purge(h)...)
				for _, dir := range []string{"/etc/mirrorcred", "/var/lib/mirrorcred", "/var/log/mirrorcred", "/run/mirrorcred"} {
					if h.exists(dir) {
						t.Errorf("%s is left after a purge", dir)
					}
				}
			}
		})
	}
}

// wantInstalled holds what a package brings, and that it enables nothing.
func (h *host) wantInstalled(m manager) {
	h.t.Helper()
	for _, file := range []string{
		managerPath, pluginPath, "/usr/lib/systemd/system/mirrorcred.service", "/usr/lib/systemd/system/mirrorcred-apply.service", "/usr/lib/systemd/system/mirrorcred-deliver.service", "/usr/lib/systemd/system/mirrorcred-deliver.path", "/usr/lib/tmpfiles.d/mirrorcred.conf",
		"/usr/share/bash-completion/completions/mirrorcred", m.zsh, "/usr/share/fish/vendor_completions.d/mirrorcred.fish",
		"/usr/share/man/man1/mirrorcred.1.gz", "/usr/share/man/man1/" + plugin + ".1.gz", docDir + "/copyright", docDir + "/examples/acr.toml", docDir + "/docs/uninstall.md",
	} {
		info, err := os.Stat(filepath.Join(h.root, file))
		if err != nil || info.Size() == 0 || (info.Mode()&0o111 != 0) != (file == managerPath || file == pluginPath) {
			h.t.Errorf("%s: %v", file, err)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(h.root, "etc/mirrorcred")); err != nil || len(entries) > 0 {
		h.t.Errorf("/etc/mirrorcred has %v, %v; want an empty directory", entries, err)
	}
	unit, err := os.ReadFile(filepath.Join(h.root, "usr/lib/systemd/system/mirrorcred.service"))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/usr/bin/mirrorcred watch ") {
		h.t.Errorf("the unit does not start the package's program: %v", err)
	}
	if h.exists("/etc/systemd") || h.exists("/run/mirrorcred") || h.exists(copyPath) {
		h.t.Error("the package enabled, started or set up something")
	}
}

// setUp sets a node up with the installed programs, as the README does.
func (h *host) setUp() {
	h.t.Helper()
	h.write("/etc/containerd/config.toml", "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
	h.write("/etc/kubernetes/azure.json", `{"tenantId": "contoso", "useManagedIdentityExtension": true}`)
	h.write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--image-credential-provider-config="+configPath+" --image-credential-provider-bin-dir="+filepath.Dir(copyPath)+"\n")
	h.write("/var/lib/kubelet/credential-provider/acr-credential-provider", "#!/bin/sh\n")
	h.ok("cp", filepath.Join(h.root, pluginPath), filepath.Join(h.root, copyPath))
	h.write(mapPath, "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"contoso.azurecr.io\"]\n")
	h.apply()
}

// edit changes what an operator may change, and returns it.
func (h *host) edit() map[string]string {
	h.t.Helper()
	edited := map[string]string{
		mapPath:                   "# mine\nversion = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n",
		"/etc/default/mirrorcred": "MIRRORCRED_FLAGS=--restart-kubelet\n",
		"/etc/systemd/system/mirrorcred.service.d/override.conf":            "[Service]\nNice=5\n",
		"/var/lib/kubelet/credential-provider/acr-credential-provider":      "#!/bin/sh\n# of another vendor\n",
		"/var/lib/kubelet/credential-provider/mirror-credential-provider.1": "kept by the operator\n",
	}
	for name, text := range edited {
		h.write(name, text)
	}
	return edited
}

// wantUpgraded holds that an upgrade asks nothing, keeps what the operator wrote, and
// brings the kubelet's copy of the plugin to the new one.
func (h *host) wantUpgraded(edited map[string]string) {
	h.t.Helper()
	for name, text := range edited {
		if data, err := os.ReadFile(filepath.Join(h.root, name)); err != nil || string(data) != text {
			h.t.Errorf("%s is %q after the upgrade, %v", name, data, err)
		}
	}
	built := filepath.Join(dirs[newer.version], "linux_"+runtime.GOARCH, plugin)
	for _, at := range []string{pluginPath, copyPath} {
		if !h.same(filepath.Join(h.root, at), built) {
			h.t.Errorf("%s is not the new plugin", at)
		}
	}
	if info, err := os.Stat(filepath.Join(h.root, copyPath)); err != nil || info.Mode().Perm() != 0o755 {
		h.t.Errorf("the kubelet cannot run its copy: %v", err)
	}
	if entries, err := os.ReadDir(filepath.Join(h.root, filepath.Dir(copyPath))); err != nil || len(entries) != 3 {
		h.t.Errorf("beside the plugin there is %v, %v", entries, err)
	}
	h.apply()
}

// undo takes mirrorcred off the node, as docs/uninstall.md does by hand.
func (h *host) undo() {
	h.t.Helper()
	h.write(mapPath, "version = 1\n")
	h.apply()
	h.write("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n")
	h.must(os.Remove(filepath.Join(h.root, configPath)))
}

// wantRemoved holds that the programs are gone and what the operator wrote stays.
func (h *host) wantRemoved() {
	h.t.Helper()
	for _, place := range []string{managerPath, filepath.Dir(pluginPath), "/usr/lib/systemd/system/mirrorcred.service", "/usr/lib/tmpfiles.d/mirrorcred.conf", docDir} {
		if h.exists(place) {
			h.t.Errorf("%s is left", place)
		}
	}
	for _, place := range []string{mapPath, copyPath, "/etc/default/mirrorcred"} {
		if !h.exists(place) {
			h.t.Errorf("%s is gone", place)
		}
	}
}

// tree returns the names, sizes and times of everything outside the package
// manager's own records.
func (h *host) tree() string {
	h.t.Helper()
	out, err := exec.Command("find", h.root, "-path", "*/var/lib/dpkg", "-prune", "-o", "-path", "*/var/lib/rpm", "-prune", "-o", "-path", "*/usr/lib/sysimage", "-prune", "-o", "-name", ".rpmdb", "-prune", "-o",
		"!", "-type", "d", "-printf", "%P %s %T@ %m\n").Output()
	h.must(err)
	return string(out)
}
