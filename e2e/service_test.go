package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

const threeMirrors = twoMirrors + `
[[mirror]]
source  = "any.example.org"
targets = ["contoso.azurecr.io/any"]
`

// A node as it is installed, with its programs in units of a real systemd. A
// new source has the kubelet restarted, once, and its pods run; a mirror that
// only changes its target does not, and another new source has to wait.
func TestServiceRestartsKubelet(t *testing.T) {
	freshNode(t)
	s := startServices(t, "kubelet.service", "")
	c := s.containerd
	write(t, mapFile, oneMirror)
	first := s.start()

	edited := time.Now()
	write(t, mapFile, twoMirrors)
	awaitStep(t, edited)
	second := s.mainPID()
	if second == first {
		t.Errorf("the new source is in force, and the kubelet is still process %s", first)
	}
	push(t, contoso, "quay/app/new", "1")
	push(t, pauseRegistry, "pause", "1")
	check(t, node.RunPod("new", "quay.io/app/new:1"))
	runs(t, c, "new")
	credited(t, contoso, "quay/app/new")
	silent(t, "quay.io")

	edited = time.Now()
	write(t, mapFile, strings.ReplaceAll(twoMirrors, contoso, fabrikam))
	awaitStep(t, edited)
	write(t, mapFile, strings.ReplaceAll(threeMirrors, contoso, fabrikam))
	within(t, 30*time.Second, func() error { return s.said("pending   any.example.org: the kubelet") })
	within(t, 30*time.Second, func() error { return s.logged(`msg="kubelet restart scheduled for new sources" at=`) })
	if now := s.mainPID(); now != second {
		t.Errorf("the kubelet is process %s; want %s, which had just been restarted", now, second)
	}
}

// A kubelet that refuses its new configuration is up again with its old one,
// whatever its unit is called, and the operator is told.
func TestServiceRestoresKubelet(t *testing.T) {
	freshNode(t)
	s := startServices(t, "rke2-agent.service", "any.example.org")
	c := s.containerd
	// RKE2 has its own paths; this kubelet only has the name of its unit.
	const paths = "\n[kubelet]\nconfig = \"" + providerConfig + "\"\nbin_dir = \"" + providerBin + "\"\n"
	write(t, mapFile, oneMirror+paths)
	first := s.start()
	before, err := os.ReadFile(providerConfig)
	check(t, err)

	write(t, mapFile, threeMirrors+paths)
	within(t, time.Minute, func() error {
		return s.logged(
			`msg="kubelet did not start with its new configuration; restoring the old one" error="rke2-agent.service did not stay up`,
			`msg="kubelet runs with its old configuration; the new sources stay pending"`,
		)
	})
	const why = "the kubelet did not start with the configuration that names the source"
	within(t, 30*time.Second, func() error { return s.said("pending   any.example.org: "+why, "pending   quay.io: "+why) })
	if after, err := os.ReadFile(providerConfig); err != nil || string(after) != string(before) {
		t.Errorf("%s is not as it was, %v:\n%s", providerConfig, err, after)
	}
	last := s.mainPID()
	if last == first {
		t.Errorf("the kubelet is still process %s", first)
	}
	push(t, contoso, "app/hello", "1")
	push(t, pauseRegistry, "pause", "1")
	check(t, node.RunPod("hello", "mcr.microsoft.com/app/hello:1"))
	runs(t, c, "hello")
	credited(t, contoso, "app/hello")
	if now := s.mainPID(); now != last {
		t.Errorf("the kubelet is process %s; want %s, which was up again", now, last)
	}
}

// services are the node's units and their systemd.
type services struct {
	*testing.T
	systemd *node.Systemd
	// containerd runs on systemd's machine, as the manager is to see it.
	containerd *node.Containerd
	unit       string // the kubelet's
}

const watcherLog = "/run/log/mirrorcred.log"

// startServices starts a systemd that has mirrorcred's units, as "mirrorcred units"
// installs them, and the kubelet in a unit of the name given. If refused is
// not "", that kubelet does not come up with a configuration that names it.
func startServices(t *testing.T, unit, refused string) services {
	t.Helper()
	// Not from /tmp, of which the unit has one of its own.
	const ours = "/opt/mirrorcred/mirrorcred"
	data, err := os.ReadFile(program("mirrorcred"))
	check(t, err)
	write(t, ours, string(data))
	check(t, os.Chmod(ours, 0o755))
	args, err := node.KubeletArgs("--image-credential-provider-config="+providerConfig, "--image-credential-provider-bin-dir="+providerBin)
	check(t, err)
	start := "exec " + program("kubelet") + " " + strings.Join(args, " ")
	if refused != "" {
		start = fmt.Sprintf("! grep %s %s && %s", refused, providerConfig, start)
	}
	write(t, "/etc/default/mirrorcred", "MIRRORCRED_FLAGS=--restart-kubelet --restart-jitter=0s\n")

	systemd, err := node.StartSystemd(t.Context())
	check(t, err)
	version := versions()[0]
	c := startContainerdAt(t, version, node.Config(version, node.HostsDir, pauseImage), node.Inside(systemd))
	s := services{t, systemd, c, unit}
	t.Cleanup(func() {
		if t.Failed() {
			s.tell()
		}
		node.RemovePods()
		if err := c.RemovePods(context.Background()); err != nil {
			t.Log(err)
		}
		s.systemd.Stop()
	})
	if out, err := exec.CommandContext(t.Context(), ours, "units", "--install", "--program", ours).CombinedOutput(); err != nil {
		t.Fatalf("mirrorcred units: %v\n%s", err, out)
	}
	check(t, node.WriteUnit("mirrorcred.service.d/log.conf", "[Service]\nStandardError=truncate:"+watcherLog+"\n"))
	// As kubeadm's package has it.
	check(t, node.WriteUnit(unit, fmt.Sprintf(`[Unit]
StartLimitIntervalSec=0
[Service]
ExecStart=/bin/sh -c '%s'
Restart=always
RestartSec=10
StandardError=truncate:/run/log/kubelet.log
[Install]
WantedBy=multi-user.target
`, start)))
	s.do("enable", "mirrorcred.service", unit)
	s.do("daemon-reload")
	return s
}

// start starts all that is enabled, as a boot does, and returns the kubelet's
// process. It has to have been started after its configuration was written,
// without which it does not come up.
func (s services) start() (pid string) {
	s.Helper()
	s.do("start", "multi-user.target")
	within(s.T, time.Minute, func() error { return node.Healthy(s.Context()) })
	if restarts := s.do("show", "--property=NRestarts", "--value", s.unit); restarts != "0" {
		s.Errorf("the kubelet started before its configuration was there: %s restarts", restarts)
	}
	awaitStep(s.T, time.Time{})
	return s.mainPID()
}

// do runs systemctl.
func (s services) do(args ...string) string {
	s.Helper()
	out, err := s.systemd.Control(context.Background(), args...)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// mainPID returns the kubelet's process.
func (s services) mainPID() string {
	s.Helper()
	return s.do("show", "--property=MainPID", "--value", s.unit)
}

// said fails unless "mirrorcred status" says all that is wanted.
func (s services) said(want ...string) error {
	// Its exit code is for what it says.
	out, _ := exec.CommandContext(s.Context(), program("mirrorcred"), "status").CombinedOutput()
	return has("mirrorcred status", string(out), want)
}

// logged fails unless the watcher's log has all that is wanted.
func (s services) logged(want ...string) error {
	data, err := os.ReadFile(watcherLog)
	if err != nil {
		return err
	}
	return has("the watcher's log", string(data), want)
}

func has(what, text string, want []string) error {
	for _, w := range want {
		if !strings.Contains(text, w) {
			return fmt.Errorf("%s lacks %q:\n%s", what, w, text)
		}
	}
	return nil
}

// tell logs how the services are.
func (s services) tell() {
	out, _ := s.systemd.Control(context.Background(), "status", "--no-pager", "mirrorcred.service", s.unit)
	s.Log(out)
	for _, log := range []string{watcherLog, "/run/log/kubelet.log"} {
		data, _ := os.ReadFile(log)
		s.Logf("--- the end of %s:\n%s", filepath.Base(log), data[max(0, len(data)-4000):])
	}
}

// A run that systemctl stops ends between two changes and is not a failure; the next
// one goes on. A run that takes too long is one.
func TestServiceApplyStopped(t *testing.T) {
	freshNode(t)
	s := startServices(t, "kubelet.service", "")
	check(t, node.WriteUnit("mirrorcred-apply.service.d/log.conf", "[Service]\nStandardError=truncate:"+watcherLog+"\n"))
	s.do("daemon-reload")
	var text strings.Builder
	text.WriteString("version = 1\n")
	const sources = 4000
	for i := range sources {
		fmt.Fprintf(&text, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [%q]\n", i, contoso)
	}
	write(t, mapFile, text.String())
	state := func() string {
		return strings.ReplaceAll(s.do("show", "--property=ActiveState,Result", "mirrorcred-apply.service"), "\n", " ")
	}
	begun := func() error {
		routes, err := os.ReadDir("/var/lib/mirrorcred/routes")
		if len(routes) == 0 {
			return fmt.Errorf("no route yet: %v", err)
		}
		return nil
	}

	s.do("start", "--no-block", "mirrorcred-apply.service")
	within(t, time.Minute, begun)
	s.do("stop", "mirrorcred-apply.service")
	if err := s.logged("mirrorcred: interrupted after "); err != nil {
		t.Error(err)
	}
	if got, want := state(), "Result=success ActiveState=inactive"; got != want {
		t.Errorf("stopped, the service is %q; want %q", got, want)
	}

	check(t, os.RemoveAll("/var/lib/mirrorcred/routes"))
	check(t, node.WriteUnit("mirrorcred-apply.service.d/time.conf", "[Service]\nTimeoutStartSec=1ms\n"))
	s.do("daemon-reload")
	_, err := s.systemd.Control(t.Context(), "start", "mirrorcred-apply.service")
	if got := state(); err == nil || !strings.Contains(got, "Result=timeout") {
		t.Errorf("out of time, the service is %q, %v", got, err)
	}

	check(t, os.Remove("/etc/systemd/system/mirrorcred-apply.service.d/time.conf"))
	s.do("daemon-reload")
	s.do("reset-failed", "mirrorcred-apply.service")
	s.do("start", "mirrorcred-apply.service")
	if got, want := state(), "Result=success ActiveState=inactive"; got != want {
		t.Errorf("at the end the service is %q; want %q", got, want)
	}
	if entries, err := os.ReadDir(node.HostsDir); len(entries) != sources {
		t.Errorf("%d of %d sources are routed, %v", len(entries), sources, err)
	}
}
