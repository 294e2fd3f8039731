package kubelet

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process/machinetest"
)

func TestMain(m *testing.M) {
	os.Exit(machinetest.Main(m, map[string]func() error{"look": look}))
}

// A view is what is seen from inside of a machine.
type view struct {
	Seen    []string // the arguments of each kubelet
	Unknown string
	Exe     bool // whether the kernel says which file one runs
}

// look prints a view.
func look() error {
	s, err := Running(process.Proc)
	if err != nil {
		return err
	}
	v := view{Unknown: s.Unknown}
	for _, k := range s.Kubelets {
		v.Seen = append(v.Seen, strings.Join(k.Args, " "))
		_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", k.PID))
		v.Exe = v.Exe || err == nil
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

const nobody = 65534

// TestRunning plays machines, and looks for kubelets on each as root and as the
// shipped unit may.
func TestRunning(t *testing.T) {
	file := func(name string) string { return "/mnt/" + name }
	mine := machinetest.Process{File: file("real/kubelet"), Args: []string{"/usr/bin/kubelet", "--config=/x"}}
	other := machinetest.Process{File: file("other/kubelet"), Args: []string{"kubelet", "--root-dir=/other"}}
	k3s := machinetest.Process{File: file("k3s/k3s-server"), Args: []string{"/usr/local/bin/k3s server"}}
	evil := machinetest.Process{File: file("evil/kubelet"), Args: []string{"/tmp/evil", "--root-dir=/its/empty/dir"}, UID: nobody}
	sudo := machinetest.Process{File: file("sudo/kubelet"), Args: []string{"/tmp/evil"}, UID: nobody, SetUID: true}
	kind := machinetest.Process{File: file("kind/kubelet"), Args: []string{"/usr/bin/kubelet"}, Namespace: true}
	snap := machinetest.Process{File: file("snap/kubelet"), Args: []string{"/usr/bin/kubelet"}, Chroot: true}
	type processes = []machinetest.Process
	for _, tt := range []struct {
		name, init string
		processes  processes
		want       string // the first arguments' of what is seen, joined
		unknown    string
	}{
		{"none on a machine", "systemd", nil, "", ""},
		{"one", "systemd", processes{mine}, "/usr/bin/kubelet", ""},
		{"several", "systemd", processes{mine, other, k3s}, "/usr/bin/kubelet kubelet /usr/local/bin/k3s", ""},
		{"a user's is not seen", "systemd", processes{evil}, "", ""},
		{"a user's beside the node's", "systemd", processes{evil, mine, sudo}, "/usr/bin/kubelet", ""},
		{"a set-uid program", "systemd", processes{sudo}, "", ""},
		{"in a container", "systemd", processes{kind, mine}, "/usr/bin/kubelet", ""},
		{"only in a container", "systemd", processes{kind}, "", ""},
		{"with another root", "systemd", processes{snap}, "", "another root file system"},
		{"none in a pod", "mirrorcred", nil, "", "process 1 is \"mirrorcred\""},
		{"a user's in a pod", "pause", processes{evil}, "", "process 1 is \"pause\""},
		{"none in an image build", "sh", nil, "", "process 1 is \"sh\""},
		{"k3d", "k3s", processes{k3s}, "/usr/local/bin/k3s", ""},
	} {
		for _, sandbox := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/sandbox=%v", tt.name, sandbox), func(t *testing.T) {
				var v view
				out := machinetest.Machine{Init: tt.init, Processes: tt.processes, Hide: []string{"/mnt"}, Sandbox: sandbox}.Run(t, "look")
				if err := json.Unmarshal([]byte(out), &v); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				var seen []string
				for _, args := range v.Seen {
					seen = append(seen, strings.Fields(args)[0])
				}
				if tt.init == "k3s" { // process 1 has the name of one, and is
					seen = seen[1:]
				}
				if strings.Join(seen, " ") != tt.want || (v.Unknown == "") != (tt.unknown == "") || !strings.Contains(v.Unknown, tt.unknown) {
					t.Errorf("%q, unknown %q; want %q, %q", seen, v.Unknown, tt.want, tt.unknown)
				}
				if len(v.Seen) > 0 && v.Exe == sandbox {
					t.Errorf("the file that a kubelet runs is seen: %v; want %v, or the sandbox does not work", v.Exe, !sandbox)
				}
			})
		}
	}
}

// TestSandboxIsTheUnits checks that the shipped unit takes what these tests take.
func TestSandboxIsTheUnits(t *testing.T) {
	unit, err := os.ReadFile("../../../systemd/mirrorcred.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"CapabilityBoundingSet=CAP_CHOWN", "NoNewPrivileges=yes", "ProtectProc=default", "ProcSubset=all"} {
		if !strings.Contains(string(unit), "\n"+line+"\n") {
			t.Errorf("the unit does not say %s", line)
		}
	}
}

func TestFlag(t *testing.T) {
	tests := []struct {
		args []string
		want string
		ok   bool
	}{
		{[]string{"kubelet", "--config=/a"}, "/a", true},
		{[]string{"kubelet", "--config", "/a"}, "/a", true},
		{[]string{"kubelet", "-config=/a"}, "/a", true},
		{[]string{"kubelet", "--config=/a", "--config=/b"}, "/b", true}, // the last one counts
		{[]string{"kubelet", "--config="}, "", true},
		{[]string{"kubelet", "--config"}, "", false},
		{[]string{"kubelet", "--config-dir=/a"}, "", false},
		{[]string{"kubelet", "config=/a"}, "", false},
		{nil, "", false},
	}
	for _, test := range tests {
		got, ok := Flag(test.args, "config")
		if got != test.want || ok != test.ok {
			t.Errorf("Flag(%q) = %q, %t; want %q, %t", test.args, got, ok, test.want, test.ok)
		}
	}
	if got, _ := Flag([]string{"kubelet", "--root_dir=/a"}, "root-dir"); got != "/a" {
		t.Errorf("Flag with an underscore = %q; the kubelet reads it as a hyphen", got)
	}
}
