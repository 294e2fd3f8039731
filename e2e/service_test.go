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
	c := startContainerd(t, versions()[0])
	s := startServices(t, c, "kubelet.service", "")
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
	within(t, 30*time.Second, func() error { return s.logged(`msg="kubelet is to be restarted for new sources" in=`) })
	if now := s.mainPID(); now != second {
		t.Errorf("the kubelet is process %s; want %s, which had just been restarted", now, second)
	}
}

// A kubelet that refuses its new configuration is up again with its old one,
// whatever its unit is called, and the operator is told.
func TestServiceRestoresKubelet(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	s := startServices(t, c, "rke2-agent.service", "any.example.org")
	write(t, mapFile, oneMirror)
	first := s.start()
	before, err := os.ReadFile(providerConfig)
	check(t, err)

	write(t, mapFile, threeMirrors)
	within(t, time.Minute, func() error {
		return s.logged(
			`msg="kubelet did not come up with its new configuration; putting the old one back" error="rke2-agent.service did not stay up`,
			`msg="kubelet is up with its old configuration; the new sources stay pending"`,
		)
	})
	const why = "the kubelet did not come up with the configuration that names the source"
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
	unit    string // the kubelet's
}

const watcherLog = "/run/log/mirrorcred.log"

// startServices starts a systemd that has our units, as "mirrorcred units"
// installs them, and the kubelet in a unit of the name given. Where refused is
// not "", that kubelet does not come up with a configuration that names it.
func startServices(t *testing.T, c *node.Containerd, unit, refused string) services {
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
	s := services{t, systemd, unit}
	t.Cleanup(func() {
		if t.Failed() {
			s.tell()
		}
		s.systemd.Stop()
		node.RemovePods()
		if err := c.RemovePods(context.Background()); err != nil {
			t.Log(err)
		}
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
