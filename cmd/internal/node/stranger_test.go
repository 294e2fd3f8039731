package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
)

// inside are what the tests run inside of a machine.
var inside = map[string]func() error{
	"apply":            func() error { return applyInside(false) },
	"apply-no-kubelet": func() error { return applyInside(true) },
	"drain":            drainInside,
}

// An outcome is what an apply inside of a machine came to.
type outcome struct {
	Pending []string
	Hosts   []string // the namespaces that there are after it
	Ran     bool     // whether /mnt/evil was run
	Fault   string
}

func applyInside(noKubelet bool) error {
	n := New("", "", false)
	n.NoKubelet = noKubelet
	todo, err := n.Apply(context.Background())
	var o outcome
	if err != nil {
		o.Fault = err.Error()
	}
	for _, w := range todo.Pending {
		o.Pending = append(o.Pending, w.Source+": "+w.Reason)
	}
	files, err := filepath.Glob("/etc/containerd/certs.d/*/hosts.toml")
	if err != nil {
		return err
	}
	for _, file := range files {
		o.Hosts = append(o.Hosts, filepath.Base(filepath.Dir(file)))
	}
	_, err = os.Stat("/mnt/ran")
	o.Ran = err == nil
	return json.NewEncoder(os.Stdout).Encode(o)
}

// strangerMap has a mirror whose credential is got with a pod's token, for which
// the kubelet's version is looked for.
const strangerMap = `version = 1
[containerd]
version = "2.2"
[[mirror]]
source = "docker.io"
targets = ["harbor.corp"]
[registry."harbor.corp"]
credential = "pods"
[credential.pods]
kind = "service-account-token"
username = "robot"
audience = "registry.corp"
`

// strangerSetup writes a node, and a program that leaves a mark if it is run.
func strangerSetup(more string) string {
	return `
mkdir -p /etc/mirrorcred /etc/containerd /var/lib/kubelet/credential-provider
cat > /etc/mirrorcred/mirrors.toml <<'END'
` + strangerMap + more + `END
cat > /etc/containerd/config.toml <<'END'
version = 3
[plugins."io.containerd.cri.v1.images".registry]
config_path = "/etc/containerd/certs.d"
END
printf '#!/bin/sh\n: > /mnt/ran\necho Kubernetes v1.36.0\n' > /mnt/evil
chmod 755 /mnt/evil
cp /mnt/evil /var/lib/kubelet/credential-provider/mirror-credential-provider
`
}

var ownDirs = []string{"/mnt", "/run", "/etc/mirrorcred", "/etc/containerd", "/var/lib/mirrorcred", "/var/lib/kubelet"}

// TestForeignProcesses checks that a user's process of the kubelet's name is neither run
// nor waited for, and that a node on which a kubelet might run unseen waits.
func TestForeignProcesses(t *testing.T) {
	evil := machinetest.Process{File: "/mnt/home/kubelet", Args: []string{"/mnt/evil", "--root-dir=/its/empty/dir"}, UID: 65534}
	for _, tt := range []struct {
		name, init, test, more string
		processes              []machinetest.Process
		hosts                  bool
		pending, fault         string
	}{
		{"a machine on which none runs", "systemd", "apply", "", nil, true, "", ""},
		{"a user's", "systemd", "apply", "", []machinetest.Process{evil}, true, "", ""},
		{"a user's, a set-uid program", "systemd", "apply", "", []machinetest.Process{{File: "/mnt/home/kubelet", Args: []string{"/mnt/evil"}, UID: 65534, SetUID: true}}, true, "", ""},
		{"a pod", "mirrorcred", "apply", "", nil, false, "", "cannot tell whether a kubelet runs here: process 1 is \"mirrorcred\""},
		{"a pod, the version is known", "mirrorcred", "apply", "[kubelet]\nversion = \"1.36\"\n", nil, false, "docker.io: cannot tell whether a kubelet runs here", ""},
		{"a pod, a user's beside", "mirrorcred", "apply", "[kubelet]\nversion = \"1.36\"\n", []machinetest.Process{evil}, false, "--no-kubelet", ""},
		{"an image build that says so", "sh", "apply-no-kubelet", "", nil, true, "", ""},
		{"a map that says so", "sh", "apply", "[kubelet]\nrunning = false\n", nil, true, "", ""},
	} {
		for _, sandbox := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/sandbox=%v", tt.name, sandbox), func(t *testing.T) {
				out := machinetest.Machine{
					Init: tt.init, Processes: tt.processes, Hide: ownDirs, Setup: strangerSetup(tt.more), Sandbox: sandbox,
				}.Run(t, tt.test)
				var got outcome
				if err := json.Unmarshal([]byte(out), &got); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				if got.Ran {
					t.Error("the program that the user named was run as root")
				}
				if pending := strings.Join(got.Pending, "\n"); (pending == "") != (tt.pending == "") || !strings.Contains(pending, tt.pending) {
					t.Errorf("pending: %q; want %q", got.Pending, tt.pending)
				}
				if (got.Fault == "") != (tt.fault == "") || !strings.Contains(got.Fault, tt.fault) {
					t.Errorf("fault: %q; want %q", got.Fault, tt.fault)
				}
				if (len(got.Hosts) > 0) != tt.hosts {
					t.Errorf("hosts.toml for %q; want some %v", got.Hosts, tt.hosts)
				}
			})
		}
	}
}

// A later is this machine some time from now.
type later struct {
	linux
	by   time.Duration
	none bool // no kubelet runs
}

func (l later) now() (plan.Moment, error) {
	m, err := l.linux.now()
	m.Since += l.by
	return m, err
}

func (l later) wall() time.Time { return time.Now().Add(l.by) }

func (l later) kubelets() ([]plan.Process, string, error) {
	if l.none {
		return nil, "", nil
	}
	return l.linux.kubelets()
}

// drainInside has a mirror drain whose credential a pull under way has, and then
// no pull. It prints what is left each time.
func drainInside() error {
	n := New("", "", false)
	var said []string
	step := func(text string, at later) error {
		n.host = at
		if err := os.WriteFile(n.Map, []byte(text+"[kubelet]\nversion = \"1.36\"\n"), 0o644); err != nil {
			return err
		}
		todo, err := n.Apply(context.Background())
		said = append(said, summary(todo))
		return err
	}
	const pull = "/var/lib/kubelet/image_manager/pulling/one"
	if err := errorsOf(
		os.MkdirAll(filepath.Dir(pull), 0o755),
		os.WriteFile(pull, []byte(`{"image": "mcr.microsoft.com/app:1"}`), 0o644),
		step(harborMap, later{by: time.Hour, none: true}),
		step(emptyMap, later{by: time.Hour}),
		step(emptyMap, later{by: 2 * time.Hour}),
		os.Remove(pull),
		step(emptyMap, later{by: 3 * time.Hour}),
	); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(said)
}

// TestDrainWithStranger checks that the kubelet of a user neither ends a drain, by
// a root directory in which no pull is written down, nor holds it.
func TestDrainWithStranger(t *testing.T) {
	kubelet := machinetest.Process{File: "/mnt/bin/kubelet", Args: append([]string{"/mnt/bin/kubelet"}, theFlags...)}
	empty := machinetest.Process{File: "/mnt/home/kubelet", Args: []string{"/mnt/evil", "--root-dir=/mnt/empty"}, UID: 65534}
	none := machinetest.Process{File: "/mnt/home2/kubelet", Args: []string{"/mnt/evil", "--root-dir=/mnt/none"}, UID: 65534}
	const waits, pulls = "draining harbor.corp:8443: pulls may still use its credential", " has 1 pull in progress that may use its credential"
	for _, tt := range []struct {
		name      string
		processes []machinetest.Process
		want      [3]string // of what is left after the removal, two hours and three later
	}{
		{"the node's alone", []machinetest.Process{kubelet}, [3]string{waits, pulls, ""}},
		{"a user's with an empty directory", []machinetest.Process{empty, kubelet}, [3]string{waits, pulls, ""}},
		{"a user's with none", []machinetest.Process{kubelet, none}, [3]string{waits, pulls, ""}},
		{"a user's alone", []machinetest.Process{empty, none}, [3]string{waits, "", ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			setup := strangerSetup("") + "mkdir -p /mnt/empty/image_manager/pulling\nrm -f /mnt/ran\n"
			out := machinetest.Machine{Init: "systemd", Processes: tt.processes, Hide: ownDirs, Setup: setup}.Run(t, "drain")
			var said []string
			if err := json.Unmarshal([]byte(out), &said); err != nil || len(said) != 4 {
				t.Fatalf("%v: %s", err, out)
			}
			for i, want := range tt.want {
				if got := said[i+1]; (got == "") != (want == "") || !strings.Contains(got, want) {
					t.Errorf("step %d leaves:\n%swant: %s", i, got, want)
				}
			}
		})
	}
}
