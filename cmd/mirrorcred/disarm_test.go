package main

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd/containerdtest"
)

// inside is the environment variable that says that this process is in a mount
// namespace of its own; its value is the path of the plugin.
const inside = "MIRRORCRED_TEST_INSIDE"

// TestDisarm runs both programs as on a node, not below another root: in a mount
// namespace in which /etc, /run, /var/lib and /var/log are the test's own.
func TestDisarm(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("to make mounts takes root")
	}
	if os.Getenv(inside) == "" {
		plugin := filepath.Join(t.TempDir(), "mirror-credential-provider")
		if out, err := exec.Command("go", "build", "-o", plugin, "../mirror-credential-provider").CombinedOutput(); err != nil {
			t.Fatalf("go build: %v\n%s", err, out)
		}
		_, which, _ := strings.Cut(flag.Lookup("test.run").Value.String(), "/")
		cmd := exec.Command(os.Args[0], "-test.run=^TestDisarm$/"+which, "-test.v")
		cmd.Env = append(os.Environ(), inside+"="+plugin)
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) {
			t.Skip("to make a mount namespace is not allowed here")
		}
		if err != nil || !strings.Contains(string(out), "--- PASS: TestDisarm/") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	for name, test := range disarmings {
		t.Run(name, func(t *testing.T) { test(newHost(t)) })
	}
}

const (
	readsTree        = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n"
	readsOther       = "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/docker/certs.d'\n"
	containerdConfig = "/etc/containerd/config.toml"
	state            = "/var/lib/mirrorcred"
	routes           = state + "/routes"
)

// disarmings are what happens on a node whose plugin answers.
var disarmings = map[string]func(h *host){
	"nothing": func(h *host) {},
	"the routes are a mount point": func(h *host) {
		h.mount(routes, routes, "", unix.MS_BIND, "")
		h.byHand()
		h.apply(1)
		h.silent("another file")
		h.boot()
		h.silent("another file, after a boot")
	},
	"the disk is read-only": func(h *host) {
		h.mount(state, state, "", unix.MS_BIND, "")
		h.mount("", state, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		h.restart("v2.4.2", readsOther)
		h.apply(1)
		h.silent("another config_path")
		h.boot()
		h.silent("another config_path, after a boot")
	},
	"the routes are of a lower layer": func(h *host) {
		for _, dir := range []string{"upper", "work", "lower"} {
			h.do(os.MkdirAll("/run/overlay/"+dir, 0o755))
		}
		h.do(os.CopyFS("/run/overlay/lower", os.DirFS(state)))
		if err := unix.Mount("overlay", state, "overlay", 0, "lowerdir=/run/overlay/lower,upperdir=/run/overlay/upper,workdir=/run/overlay/work"); err != nil {
			h.Skipf("no overlay here: %v", err)
		}
		h.Cleanup(func() { _ = unix.Unmount(state, unix.MNT_DETACH) })
		h.answers("below an overlay")
		h.byHand()
		h.apply(1)
		h.silent("another file")
		h.boot()
		h.silent("another file, after a boot")
	},
	"it is started by hand with another file, and the disk is read-only": func(h *host) {
		h.mount(state, state, "", unix.MS_BIND, "")
		h.mount("", state, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
		h.byHand()
		h.apply(1)
		h.silent("another file")
		h.mount("", state, "", unix.MS_REMOUNT|unix.MS_BIND, "")
		h.restart("v2.2.9", readsTree)
		h.silent("no pass has armed it")
		h.apply(0)
		h.answers("armed again")
	},
	"another has the lock": func(h *host) {
		f, err := os.OpenFile(state+"/lock", os.O_RDONLY, 0)
		h.do(err)
		defer f.Close()
		h.do(unix.Flock(int(f.Fd()), unix.LOCK_EX))
		h.byHand()
		h.apply(1, "--wait=100ms")
		h.silent("another file")
		h.do(f.Close())
		h.apply(1)
		h.silent("another file, with the lock")
		h.restart("v2.4.2", readsTree)
		h.silent("no pass since")
		h.apply(0)
		h.answers("armed again")
	},
	"its configuration is touched": func(h *host) {
		h.write(containerdConfig, readsTree)
		h.answers("touched")
		h.write(containerdConfig, readsTree+"# more\n")
		h.answers("changed, and not read yet")
	},
	"it is started anew with the same files": func(h *host) {
		h.restart("v2.4.2", readsTree)
		h.answers("started anew")
		h.stop()
		h.answers("stopped")
	},
	"it is started anew with other files": func(h *host) {
		h.restart("v2.4.2", readsTree+"# more\n")
		h.silent("started anew")
		h.apply(0)
		h.answers("after a pass")
		h.restart("v2.4.2", readsOther)
		h.silent("started with another config_path")
	},
	"a drop-in comes": func(h *host) {
		h.restart("v2.4.2", "imports = ['/etc/containerd/conf.d/*.toml']\n"+readsTree)
		h.apply(0)
		h.answers("no drop-in")
		h.write("/etc/containerd/conf.d/a.toml", readsOther)
		h.answers("a drop-in that is not read yet")
		h.restart("v2.4.2", "imports = ['/etc/containerd/conf.d/*.toml']\n"+readsTree)
		h.silent("started anew with it")
	},
	"its files are wrong for the next start": func(h *host) {
		h.write(containerdConfig, readsOther)
		h.apply(2)
		h.answers("it still runs")
		h.restart("v2.4.2", readsOther)
		h.silent("started anew")
		h.apply(1)
		h.silent("after a pass")
	},
	"2.2 is edited under it, after a pass": func(h *host) {
		h.restart("v2.2.9", readsTree)
		h.apply(0)
		h.answers("2.2")
		h.write(containerdConfig, readsOther)
		h.apply(2)
		h.answers("it still runs")
		h.restart("v2.2.9", readsOther)
		h.silent("started anew")
	},
	"2.2 is edited under it, before a pass": func(h *host) {
		h.restart("v2.2.9", readsOther)
		time.Sleep(5 * armed.Tick)
		h.write(containerdConfig, readsTree)
		h.apply(1)
		h.silent("it has not read that")
		h.restart("v2.2.9", readsTree)
		h.apply(0)
		h.answers("it has")
	},
	"2.2 has another file mounted over its own, before a pass": func(h *host) {
		h.write("/run/right.toml", readsTree)
		h.restart("v2.2.9", readsOther)
		h.mount("/run/right.toml", containerdConfig, "", unix.MS_BIND, "")
		if out := h.apply(1); !strings.Contains(out, containerdConfig+": a mount point") || !strings.Contains(out, "unmount it and put the files there instead, then run: systemctl restart containerd") {
			h.Errorf("apply says:\n%s", out)
		}
		h.silent("it has not read that")
	},
	"2.2 has another directory mounted over its drop-ins, before a pass": func(h *host) {
		h.write("/etc/containerd/conf.d/a.toml", readsOther)
		h.do(os.Mkdir("/run/empty.d", 0o755))
		h.restart("v2.2.9", "imports = ['/etc/containerd/conf.d/*.toml']\n"+readsTree)
		h.mount("/run/empty.d", "/etc/containerd/conf.d", "", unix.MS_BIND, "")
		h.apply(1)
		h.silent("it has not read that")
	},
	"the record is of an older version": func(h *host) {
		h.do(os.Remove(state + "/" + armed.FileName))
		h.silent("no record")
		h.apply(0)
		h.answers("after a pass")
	},
	"the map has a fault": func(h *host) {
		h.write("/etc/mirrorcred/mirrors.toml", "version = \n")
		h.restart("v2.4.2", readsTree+"# more\n")
		h.silent("started anew")
		h.apply(1)
		h.answers("after a pass, by the last good map")
	},
}

// A host is a node in a mount namespace, with a containerd that reads the tree and
// a plugin that answers.
type host struct {
	*testing.T
	containerd *exec.Cmd
}

func newHost(t *testing.T) *host {
	h := &host{T: t}
	h.mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
	for _, dir := range []string{"/etc", "/run", "/var/lib", "/var/log"} {
		h.mount("tmpfs", dir, "tmpfs", 0, "")
		h.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	}
	h.write("/etc/mirrorcred/mirrors.toml", `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["harbor.corp:8443"]
[registry."harbor.corp:8443"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
[kubelet]
running = false
`)
	h.write("/etc/mirrorcred/harbor.json", `{"auths": {"harbor.corp:8443": {"auth": "dXNlcjpwYXNz"}}}`)
	h.do(os.Chmod("/etc/mirrorcred/harbor.json", 0o600))
	plugin := "/var/lib/kubelet/credential-provider/mirror-credential-provider"
	h.do(os.MkdirAll(filepath.Dir(plugin), 0o755))
	h.do(os.Symlink(os.Getenv(inside), plugin))
	h.restart("v2.4.2", readsTree)
	h.apply(0)
	h.answers("armed")
	return h
}

func (h *host) do(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func (h *host) mount(from, to, kind string, flags uintptr, data string) {
	h.Helper()
	h.do(unix.Mount(from, to, kind, flags, data))
	if flags&unix.MS_BIND != 0 && flags&unix.MS_REMOUNT == 0 {
		h.Cleanup(func() { _ = unix.Unmount(to, unix.MNT_DETACH) })
	}
}

func (h *host) write(name, text string) {
	h.Helper()
	h.do(os.MkdirAll(filepath.Dir(name), 0o755))
	h.do(os.WriteFile(name, []byte(text), 0o644))
}

// boot empties /run, but for the socket of containerd.
func (h *host) boot() {
	h.Helper()
	h.do(os.RemoveAll("/run/mirrorcred"))
}

func (h *host) stop() {
	if h.containerd != nil {
		_ = h.containerd.Process.Kill()
		_ = h.containerd.Wait()
		h.containerd = nil
	}
}

// restart starts a containerd of a version anew, with a configuration that it has
// read.
func (h *host) restart(version, text string, args ...string) {
	h.Helper()
	h.stop()
	h.write(containerdConfig, text)
	time.Sleep(5 * armed.Tick)
	tells := "/etc/containerd/certs.d"
	if strings.Contains(text, "docker") {
		tells = "/etc/docker/certs.d"
	}
	h.do(os.MkdirAll("/run/containerd", 0o755))
	const socket = "/run/containerd/containerd.sock"
	h.containerd = containerdtest.Command(socket, version, tells, args...)
	h.do(h.containerd.Start())
	h.Cleanup(h.stop)
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
			return
		}
		time.Sleep(armed.Tick)
	}
}

// byHand has containerd be started with another file than its unit names. What
// the routes were armed by is as it was, so that the plugin goes on answering
// until a pass finds that out.
func (h *host) byHand() {
	h.Helper()
	h.write("/etc/containerd/other.toml", readsOther)
	h.restart("v2.2.9", readsTree, "-c", "/etc/containerd/other.toml")
	h.answers("no pass since it was started by hand")
}

// apply runs "mirrorcred apply", which has to exit with the code.
func (h *host) apply(code int, args ...string) (said string) {
	h.Helper()
	cmd := exec.Command(os.Args[0], append([]string{"apply", "--detailed-exitcode"}, args...)...)
	cmd.Env = append(os.Environ(), "MIRRORCRED_TEST_MAIN=1")
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		h.Errorf("apply exits %d; want %d:\n%s", got, code, out)
	}
	return string(out)
}

func (h *host) ask() (code int, stdout, stderr string) {
	cmd := exec.Command(os.Getenv(inside), "--registry-mirror=@"+routes)
	cmd.Stdin = strings.NewReader(`{"apiVersion":"credentialprovider.kubelet.k8s.io/v1","kind":"CredentialProviderRequest","image":"mcr.microsoft.com/oss/pause"}`)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// answers fails unless the plugin answers.
func (h *host) answers(when string) {
	h.Helper()
	if code, out, errs := h.ask(); code != 0 || !strings.Contains(out, `"pass"`) {
		h.Errorf("%s: the plugin exits %d with %s%s; want the credential", when, code, out, errs)
	}
}

// silent fails unless the plugin says why it answers nothing.
func (h *host) silent(when string) {
	h.Helper()
	if code, out, errs := h.ask(); code != 1 || out != "" || !strings.Contains(errs, "no credential for ") {
		h.Errorf("%s: the plugin exits %d with %s%s; want a reason and no credential", when, code, out, errs)
	}
}
