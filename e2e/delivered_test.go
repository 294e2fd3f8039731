package e2e

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// vendor is a registry that images name, with logins of its own.
const (
	vendor         = "vendor.example.com"
	vendorUser     = "customer"
	vendorPassword = azuretest.Canary + "vendor"
)

func acceptedByVendor(username, password string) bool {
	return username == vendorUser && password == vendorPassword
}

// The tenant's login at harbor, in a docker config.json.
const robotFile = "/etc/mirrorcred/robot.json"

// delivering is a map whose credential is in hosts.toml, with the source behind it.
const delivering = `
version = 1

[[mirror]]
source  = "` + vendor + `"
targets = ["` + harbor + `", "` + vendor + `"]

[[mirror]]
source  = "` + pauseRegistry + `"
targets = ["` + harbor + `"]

[registry."` + harbor + `"]
credential = "robot"
deliver    = "hosts"

[credential.robot]
kind = "docker-config"
path = "` + robotFile + `"
`

// logIn writes the docker config.json, by rename.
func logIn(t *testing.T, password string) {
	t.Helper()
	auth := base64.StdEncoding.EncodeToString([]byte(tenantUser + ":" + password))
	check(t, os.MkdirAll(filepath.Dir(robotFile), 0o755))
	check(t, os.WriteFile(robotFile+".new", []byte(fmt.Sprintf(`{"auths": {%q: {"auth": %q}}}`, harbor, auth)), 0o600))
	check(t, os.Rename(robotFile+".new", robotFile))
}

// delivered fails unless a registry was asked for a repository, and its token service was
// shown the header of hosts.toml and nothing else.
func delivered(t *testing.T, registry, repository string) {
	t.Helper()
	asked := false
	for _, r := range world.acr[registry].Requests() {
		asked = asked || strings.Contains(r.URL, "/v2/"+repository+"/")
		if r.Form.Get("password") != "" || r.Form.Get("refresh_token") != "" {
			t.Errorf("%s was shown a credential of the kubelet: %s %s", registry, r.Method, r.URL)
		}
	}
	if !asked {
		t.Errorf("%s was not asked for %s", registry, repository)
	}
}

// A node whose mirror's credential is in hosts.toml, with the units as they are
// shipped: a pod and the pause image come through the mirror without a credential of the
// kubelet's, and while the credential is renewed again and again no pull fails and the
// source is not asked.
func TestDelivered(t *testing.T) {
	freshNode(t)
	s := startServices(t, "kubelet.service", "")
	logIn(t, tenantPassword)
	write(t, mapFile, delivering)
	push(t, harbor, "app/hello", "1")
	push(t, harbor, "pause", "1")
	s.start()
	within(t, time.Minute, func() error { return s.said("in sync", "delivery  "+harbor+": credential robot in hosts.toml") })
	check(t, node.RunPod("hello", vendor+"/app/hello:1"))
	runs(t, s.containerd, "hello")
	delivered(t, harbor, "app/hello")
	delivered(t, harbor, "pause")
	for _, unit := range []string{"mirrorcred-deliver.service", "mirrorcred.service"} {
		if state := s.do("show", "--property=ActiveState", "--value", unit); state != "active" {
			t.Errorf("%s is %s", unit, state)
		}
	}
	s.writesOnlyItsOwn()
	if denied := s.do("show", "--property=IPAddressDeny", "--value", "mirrorcred.service"); denied == "" {
		t.Error("mirrorcred.service has the network")
	}
	notIn(t, []string{"/run/log", "/var/log/mirrorcred", "/run/mirrorcred"}, tenantPassword, base64.StdEncoding.EncodeToString([]byte(tenantUser+":"+tenantPassword)))

	pullsWhile(t, s.containerd, func() {
		for i := range 20 {
			logIn(t, []string{renewedPassword, tenantPassword}[i%2])
			time.Sleep(250 * time.Millisecond)
		}
	})

	byKubelet := strings.Replace(delivering, "deliver    = \"hosts\"\n", "", 1)
	// The source now sees what the kubelet gets.
	write(t, mapFile, strings.Replace(byKubelet, "[[mirror]]\n", "[[mirror]]\nshare_credential = true\n", 1))
	within(t, time.Minute, func() error {
		if state := s.do("show", "--property=ActiveState", "--value", "mirrorcred-deliver.service"); state != "inactive" {
			return fmt.Errorf("mirrorcred-deliver.service is %s, and no credential is in hosts.toml", state)
		}
		return nil
	})
}

// writesOnlyItsOwn looks at the tree that mirrorcred-deliver.service sees: whoever takes it
// over can write what it hands over, and neither the routes nor other programs' files.
func (s services) writesOnlyItsOwn() {
	s.Helper()
	root := "/proc/" + s.do("show", "--property=MainPID", "--value", "mirrorcred-deliver.service") + "/root"
	for dir, want := range map[string]string{
		"/var/lib/mirrorcred/delivered": "",
		"/run/mirrorcred/ready":         "",
		"/var/lib/mirrorcred":           "Read-only file system",
		"/var/lib/mirrorcred/routes":    "Read-only file system",
		"/run/mirrorcred":               "Read-only file system",
		"/run/mirrorcred/status":        "Read-only file system",
		"/run":                          "Read-only file system",
		"/etc/mirrorcred":               "Read-only file system",
		"/etc/containerd/certs.d":       "Read-only file system",
		"/var/lib/kubelet":              "Read-only file system",
		"/usr/local/bin":                "Read-only file system",
	} {
		// systemd's processes have numbers of their own.
		out, err := s.systemd.Command(s.Context(), "mktemp", root+dir+"/written.XXXXXX").CombinedOutput()
		if isWritten := err == nil; isWritten != (want == "") || !strings.Contains(string(out), want) {
			s.Errorf("a file in %s: %v, %s; want %q", dir, err, out, cmp.Or(want, "it to be made"))
		}
		if err == nil {
			check(s.T, s.systemd.Command(s.Context(), "rm", strings.TrimSpace(string(out))).Run())
		}
	}
}

// pullsWhile pulls new images through the mirror, ten at least, until during returns. No
// pull may fail, and none may come from the source.
func pullsWhile(t *testing.T, c *node.Containerd, during func()) {
	t.Helper()
	world.acr[vendor].Forget()
	var done sync.WaitGroup
	var isOver atomic.Bool
	done.Go(func() {
		for count := 0; count < 10 || !isOver.Load(); count++ {
			name := fmt.Sprintf("app/n%d", count)
			if _, err := world.acr[harbor].PushRandom(name, "1"); err != nil {
				t.Error(err)
				return
			}
			if err := c.Pull(t.Context(), vendor+"/"+name+":1", nil); err != nil {
				t.Errorf("pull %d: %v", count, err)
				return
			}
		}
	})
	during()
	isOver.Store(true)
	done.Wait()
	for _, r := range world.acr[vendor].Requests() {
		t.Errorf("the source was asked: %s %s", r.Method, r.URL)
	}
}

// With the mirror down, a pod gets its image from the source, with its own secret there.
// The mirror's credential is shown to the mirror only, and the pod's secret to the source
// only.
func TestDeliveredFallsBack(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	c := startContainerd(t, versions()[0])
	logIn(t, tenantPassword)
	push(t, harbor, "pause", "1")
	if said := apply(t, delivering, 0); strings.Contains(said, tenantPassword) {
		t.Errorf("apply says a secret:\n%s", said)
	}
	joinCluster(t, k, c)
	check(t, c.Pull(t.Context(), pauseImage, nil)) // no pod starts without it
	push(t, vendor, "app/private", "1")
	world.acr[harbor].Fail("", azuretest.Refuse(503))
	check(t, k.Apply(t.Context(), secretPod("customer", vendor+"/app/private:1", vendor, vendorUser, vendorPassword)))
	podRuns(t, k, "customer")
	for _, r := range world.acr[vendor].Requests() {
		header, login := r.Header.Get("Authorization"), base64.StdEncoding.EncodeToString([]byte(tenantUser+":"+tenantPassword))
		if r.Form.Get("password") == tenantPassword || strings.Contains(header, login) {
			t.Errorf("the source was shown the mirror's credential: %s %s", r.Method, r.URL)
		}
	}
}
