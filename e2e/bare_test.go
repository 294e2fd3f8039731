package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A node with nothing of mirrorcred on it but a map and the two programs in some
// directory runs a pod from the mirror after bake, join and "pull --sandbox", and
// nothing else. A second bake and join change nothing, and undo gives the node
// back as it was.
//
// Its kubelet is laid out as kubeadm's package for Debian has it, so that the two
// flags go through /etc/default/kubelet and systemd.
func TestBareNode(t *testing.T) {
	for _, version := range bareVersions() {
		t.Run(version, func(t *testing.T) {
			n := bareNode(t, version)
			before := treeOf(t)
			for path := range before {
				if strings.Contains(path, "mirrorcred") && !strings.HasPrefix(path, "/etc/mirrorcred") && !strings.HasPrefix(path, download) {
					t.Errorf("the node is not bare: %s", path)
				}
			}

			n.setUp()
			n.runsPod("hello")
			n.isHealthy()
			n.repeats()

			n.mirrorcred(0, "bootstrap", "undo")
			if changes := before.changes(treeOf(t), false); len(changes) > 0 {
				t.Errorf("after undo the node is not as it was:\n%s", strings.Join(changes, "\n"))
			}
			n.pullsFromSource("undone")

			n.setUp()
			n.runsPod("again")
			n.isHealthy()
		})
	}
}

// TestJoinBeforeTheKubelet sets the same node up before "kubeadm join": no kubelet runs,
// and the files that kubeadm writes are not there. Its first start then has the two
// flags, and nothing has to restart.
func TestJoinBeforeTheKubelet(t *testing.T) {
	list := bareVersions()
	if len(list) == 0 {
		return // E2E_CONTAINERD names none of them
	}
	n := bareMachine(t, list[0])
	n.do("start", "containerd.service")
	within(t, time.Minute, func() error { return n.containerd.Answers(t.Context()) })
	n.mirrorcred(0, "bootstrap", "bake")
	n.mirrorcred(0, "bootstrap", "join")
	if started := n.do("show", "--property=ExecMainStartTimestampMonotonic", "--value", "kubelet.service"); started != "0" {
		t.Errorf("join starts a kubelet that is not configured yet, %s µs after boot", started)
	}
	n.mirrorcred(0, "pull", "--sandbox")

	check(t, n.packages.KubeadmJoin())
	n.do("start", "kubelet.service")
	n.isUp()
	forget()
	first := n.pids()
	n.runsPod("first")
	n.isHealthy()
	if now := n.pids(); now != first {
		t.Errorf("something restarts after the kubelet's first start: processes %s; want %s", now, first)
	}
}

// bareVersions are the containerds for which bake has a way of its own each: a
// drop-in (2.4), a block in a file of version 2 (2.2), and a block on a containerd
// that does not merge files (1.7).
func bareVersions() []string {
	var list []string
	for _, v := range versions() {
		if strings.HasPrefix(v, "2.4.") || strings.HasPrefix(v, "2.2.") || strings.HasPrefix(v, "1.7.") {
			list = append(list, v)
		}
	}
	return list
}

// bareConfig returns the config.toml of a bare node, without config_path.
func bareConfig(version string) string {
	if strings.HasPrefix(version, "2.4.") {
		return fmt.Sprintf(`# Written by the operator.
version = 3
imports = ['/etc/containerd/conf.d/*.toml']

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true

[plugins.'io.containerd.nri.v1.nri']
disable = true

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = %q
`, privatePause)
	}
	return fmt.Sprintf(`# Written by the operator.
version = 2

[plugins."io.containerd.nri.v1.nri"]
disable = true

[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true # no CAP_SYS_RESOURCE here
sandbox_image = %q

[metrics]
address = ""
`, privatePause)
}

// kubeadmLayout is how kubeadm's package for Debian lays out the kubelet.
const kubeadmLayout = "../cmd/internal/nodetest/layouts/kubeadm-deb.txtar"

// download is where a node has the programs before it is set up.
const download = "/opt/download"

// A bare is a node with a systemd, whose containerd and kubelet are units.
type bare struct {
	*testing.T
	systemd    *node.Systemd
	containerd *node.Containerd
	packages   *node.Packages
}

// bareNode returns a node on which containerd and the kubelet run, as after
// "kubeadm join", and mirrorcred is not installed.
func bareNode(t *testing.T, version string) *bare {
	t.Helper()
	n := bareMachine(t, version)
	check(t, n.packages.KubeadmJoin())
	n.do("start", "containerd.service", "kubelet.service")
	n.isUp()
	return n
}

// bareMachine returns a node on which nothing runs but systemd: containerd and the
// kubelet are installed, "kubeadm join" is still to come, and mirrorcred is not there.
func bareMachine(t *testing.T, version string) *bare {
	t.Helper()
	freshNode(t)
	for _, dir := range []string{providerBin, "/var/log/mirrorcred"} {
		check(t, os.RemoveAll(dir))
	}
	n := &bare{T: t, packages: &node.Packages{}}
	t.Cleanup(n.end)
	var err error
	n.systemd, err = node.StartSystemd(t.Context())
	check(t, err)
	check(t, n.packages.InstallContainerd(program("containerd-"+version), bareConfig(version)))
	check(t, n.packages.InstallKubelet(program("kubelet"), kubeadmLayout))
	n.containerd, err = node.ConnectContainerd(version)
	check(t, err)
	write(t, azureFile, `{"cloud": "AzurePublicCloud", "tenantId": "11111111-2222-3333-4444-555555555555", "useManagedIdentityExtension": true}`)
	write(t, mapFile, oneMirror)
	for _, name := range []string{"mirrorcred", "mirror-credential-provider"} {
		data, err := os.ReadFile(program(name))
		check(t, err)
		write(t, filepath.Join(download, name), string(data))
		check(t, os.Chmod(filepath.Join(download, name), 0o755))
	}
	n.do("daemon-reload")
	push(t, contoso, "oss/pause", "3.9")
	return n
}

// end stops everything, and removes what was installed.
func (n *bare) end() {
	if n.Failed() {
		n.tell()
	}
	node.RemovePods()
	if n.containerd != nil {
		if err := n.containerd.RemovePods(context.Background()); err != nil {
			n.Log(err)
		}
		n.containerd.Stop()
	}
	if n.systemd != nil {
		undo := n.systemd.Command(context.Background(), filepath.Join(download, "mirrorcred"), "bootstrap", "undo")
		if out, err := undo.CombinedOutput(); err != nil {
			n.Logf("undo at the end: %v\n%s", err, out)
		}
		n.systemd.Stop()
	}
	check(n.T, n.packages.Remove())
	check(n.T, os.RemoveAll(download))
}

func (n *bare) tell() {
	if n.systemd != nil {
		out, _ := n.systemd.Control(context.Background(), "status", "--no-pager", "containerd.service", "kubelet.service", "mirrorcred.service")
		n.Log(out)
	}
	data, _ := os.ReadFile(node.KubeletLog)
	n.Logf("--- the end of the kubelet's log:\n%s", data[max(0, len(data)-4000):])
}

// setUp sets the bare node up, with the commands that the documents name.
func (n *bare) setUp() {
	n.Helper()
	if err := n.containerd.Pull(n.Context(), privatePause, nil); err == nil {
		n.Error("containerd gets the pause image without being set up")
	}
	n.mirrorcred(0, "bootstrap", "bake")
	n.mirrorcred(0, "bootstrap", "join")
	n.mirrorcred(0, "pull", "--sandbox")
	n.isUp()
	forget()
}

// runsPod runs a pod whose image is named by the source, from the mirror.
func (n *bare) runsPod(name string) {
	n.Helper()
	push(n.T, contoso, "app/"+name, "1")
	check(n.T, node.RunPod(name, "mcr.microsoft.com/app/"+name+":1"))
	runs(n.T, n.containerd, name)
	credited(n.T, contoso, "app/"+name)
	silent(n.T, "mcr.microsoft.com")
	flags := `FLAG: --image-credential-provider-config="` + providerConfig + `"`
	if log, err := os.ReadFile(node.KubeletLog); err != nil || !strings.Contains(string(log), flags) {
		n.Errorf("the kubelet's log lacks %s: %v", flags, err)
	}
}

// isHealthy fails the test unless check finds nothing.
func (n *bare) isHealthy() {
	n.Helper()
	var out string
	var code int
	for range 80 { // the watcher has to make its next pass
		if out, code = n.run("check"); code == 0 {
			return
		}
		// Before 2.4, containerd does not say what it has read. Then it is found out
		// by times, and a busy machine starts it later than systemd notes.
		if code == 2 && strings.HasPrefix(n.containerd.Version, "2.2.") && strings.Contains(out, "clock-unknown") && strings.HasSuffix(out, "0 errors, 1 warning, 0 notes\n") {
			return
		}
		time.Sleep(250 * time.Millisecond)
	}
	n.Errorf("mirrorcred check: exit code %d; want 0\n%s", code, out)
}

// repeats runs both phases again, which have to change nothing and restart nothing.
func (n *bare) repeats() {
	n.Helper()
	tree, running := treeOf(n.T), n.pids()
	for _, phase := range []string{"bake", "join"} {
		n.mirrorcred(0, "bootstrap", phase)
		if changes := tree.changes(treeOf(n.T), true); len(changes) > 0 {
			n.Errorf("a second %s changes:\n%s", phase, strings.Join(changes, "\n"))
		}
		if now := n.pids(); now != running {
			n.Errorf("a second %s restarts services: processes %s; want %s", phase, now, running)
		}
	}
}

func (n *bare) pids() string {
	n.Helper()
	return strings.ReplaceAll(n.do("show", "--property=MainPID", "--value", "containerd.service", "kubelet.service", "mirrorcred.service"), "\n", " ")
}

// pullsFromSource runs a pod whose image is then asked of its source, which is
// shown no credential.
func (n *bare) pullsFromSource(name string) {
	n.Helper()
	forget()
	check(n.T, node.RunPod(name, "mcr.microsoft.com/app/"+name+":1"))
	within(n.T, time.Minute, func() error { return asksSource("app/" + name) })
	check(n.T, node.RemovePod(name))
	unoffered(n.T, "mcr.microsoft.com")
	forget()
}

// isUp waits until containerd and the kubelet answer.
func (n *bare) isUp() {
	n.Helper()
	within(n.T, time.Minute, func() error {
		if err := n.containerd.Answers(n.Context()); err != nil {
			return err
		}
		return node.Healthy(n.Context())
	})
}

// mirrorcred runs mirrorcred on the machine, which has to exit with that code and
// print no secret, and returns what it prints. Before the node is set up, that is
// the one that was downloaded.
func (n *bare) mirrorcred(want int, args ...string) string {
	n.Helper()
	out, code := n.run(args...)
	if code != want {
		n.Fatalf("mirrorcred %s: exit code %d; want %d\n%s", strings.Join(args, " "), code, want, out)
	}
	return out
}

func (n *bare) run(args ...string) (out string, code int) {
	n.Helper()
	cmd := n.systemd.Command(n.Context(), filepath.Join(download, "mirrorcred"), args...)
	data, _ := cmd.CombinedOutput()
	if strings.Contains(string(data), azuretest.Canary) {
		n.Errorf("mirrorcred %s prints a secret:\n%s", strings.Join(args, " "), data)
	}
	return string(data), cmd.ProcessState.ExitCode()
}

// do runs systemctl.
func (n *bare) do(args ...string) string {
	n.Helper()
	if args[0] == "restart" {
		// What changed at the moment of the start may have come after it.
		time.Sleep(50 * time.Millisecond)
	}
	out, err := n.systemd.Control(context.Background(), args...)
	if err != nil {
		n.Fatal(err)
	}
	return out
}
