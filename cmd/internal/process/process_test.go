package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartTime(t *testing.T) {
	tests := map[string]time.Duration{
		"1 (kubelet) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 20 0 12345 0 0":  123450 * time.Millisecond,
		"1 (a) b) (c d) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 20 0 100 0 0": time.Second,
		"1 (kubelet) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 20 0 never 0":    -1,
		"1 (kubelet) S 1 1": -1,
		"":                  -1,
		")":                 -1,
	}
	for stat, want := range tests {
		got, ok := startTime([]byte(stat))
		if ok != (want >= 0) || ok && got != want {
			t.Errorf("StartTime(%q) = %v, %t; want %v", stat, got, ok, want)
		}
	}
}

// A fake is what /proc has of one process; what is "" is that of the kubelet of
// a machine with systemd.
type fake struct{ comm, status, cmdline, cgroup, mountinfo string }

const (
	rootStatus = "Name:\tx\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nNSpid:\t7\n"
	hostMounts = "21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n22 21 0:5 / /proc rw - proc proc rw\n"
	snapMounts = "21 1 7:3 / / ro,relatime - squashfs /dev/loop3 ro\n"
	podMounts  = "21 1 0:80 / / rw,relatime - overlay overlay rw\n"
)

var systemd = fake{comm: "systemd", cgroup: "0::/init.scope\n"}

// newTable writes a /proc. The process that asks has the files of process 1
// unless it is given as 0.
func newTable(t *testing.T, processes map[int]fake) Table {
	t.Helper()
	table := Table{t.TempDir(), "self"}
	if _, ok := processes[0]; !ok {
		processes[0] = processes[1]
	}
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	for pid, p := range processes {
		dir := filepath.Join(table.dir, strconv.Itoa(pid))
		if pid == 0 {
			dir = filepath.Join(table.dir, "self")
		}
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{
			"comm":      or(p.comm, "kubelet") + "\n",
			"status":    or(p.status, rootStatus),
			"cmdline":   strings.ReplaceAll(or(p.cmdline, "/usr/bin/kubelet --config=/x"), " ", "\x00") + "\x00",
			"cgroup":    or(p.cgroup, "0::/system.slice/kubelet.service\n"),
			"mountinfo": or(p.mountinfo, hostMounts),
			"stat":      strconv.Itoa(pid) + " (x) S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 20 0 12345 0 0\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	return table
}

const containerID = "3f2a9c0d1e4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1"

func TestJudge(t *testing.T) {
	uids := func(ids string) string { return strings.Replace(rootStatus, "0\t0\t0\t0", ids, 1) }
	group := func(path string) fake { return fake{cgroup: "0::" + path + "\n"} }
	inDocker := "/docker/" + containerID
	for _, tt := range []struct {
		name       string
		first, own fake
		want       Owner
		reason     string
	}{
		{"a kubelet of systemd's", systemd, fake{}, Node, ""},
		{"started by hand", systemd, group("/user.slice/user-0.slice/session-1.scope"), Node, ""},
		{"a slice of its own", systemd, group("/kubelet.slice/kubelet.service"), Node, ""},
		{"version 1", fake{comm: "systemd", cgroup: "9:pids:/init.scope\n1:name=systemd:/init.scope\n"}, fake{cgroup: "9:pids:/system.slice\n1:name=systemd:/system.slice/kubelet.service\n"}, Node, ""},
		{"no systemd, all is in the root", fake{comm: "init", cgroup: "0::/\n"}, group("/"), Node, ""},
		{"no control groups at all", fake{comm: "init", cgroup: "\n"}, fake{cgroup: "\n"}, Node, ""},
		{"a service named after a runtime", systemd, group("/system.slice/docker-containerd.service"), Node, ""},
		{"an old kernel", systemd, fake{status: "Uid:\t0\t0\t0\t0\n"}, Node, ""},
		{"a sandbox of its own", systemd, fake{mountinfo: "90 80 254:1 / / ro shared:9 - ext4 /dev/vda1 rw\n91 90 0:44 / /tmp rw - tmpfs tmpfs rw\n"}, Node, ""},

		{"another user", systemd, fake{status: uids("65534\t65534\t65534\t65534")}, User, "runs as user 65534"},
		{"a set-uid program", systemd, fake{status: uids("1000\t0\t0\t0")}, User, "runs as user 1000"},
		{"root that gave up a part", systemd, fake{status: uids("0\t1000\t0\t1000")}, User, "runs as user 1000"},
		{"its file system id only", systemd, fake{status: uids("0\t0\t0\t33")}, User, "runs as user 33"},
		{"no ids", systemd, fake{status: "Name:\tkubelet\n"}, Unknown, "does not show"},

		{"a PID namespace below ours", systemd, fake{status: strings.Replace(rootStatus, "7", "7\t1", 1)}, Container, "PID namespace of its own"},
		{"a pod with hostPID", systemd, group("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-" + containerID + ".scope"), Container, "kubepods"},
		{"a pod, cgroupfs", systemd, group("/kubepods/besteffort/pod1/" + containerID), Container, "kubepods"},
		{"CRI-O", systemd, group("/system.slice/crio-" + containerID + ".scope"), Container, "crio-"},
		{"Docker, systemd", systemd, group("/system.slice/docker-" + containerID + ".scope"), Container, "docker-"},
		{"Docker, cgroupfs", fake{comm: "init", cgroup: "0::/\n"}, group(inDocker), Container, "/docker/"},
		{"Podman", systemd, group("/machine.slice/libpod-" + containerID + ".scope/container"), Container, "libpod-"},
		{"containerd's namespace", systemd, group("/k8s.io/" + containerID), Container, containerID},
		{"version 1, one hierarchy tells", systemd, fake{cgroup: "9:pids:/kubepods/pod1/x\n0::/\n"}, Container, "kubepods"},

		{"a kind node's own", fake{comm: "systemd", cgroup: "0::/init.scope\n"}, group("/kubelet.slice/kubelet.service"), Node, ""},
		{"a kind node's own, all of the host's groups seen", fake{comm: "systemd", cgroup: "0::" + inDocker + "/init.scope\n"}, group(inDocker + "/kubelet.slice/kubelet.service"), Node, ""},
		{"a pod of a kind node, likewise", fake{comm: "systemd", cgroup: "0::" + inDocker + "/init.scope\n"}, group(inDocker + "/kubelet.slice/kubelet-kubepods.slice/cri-containerd-" + containerID + ".scope"), Container, "cri-containerd-"},
		{"a k3d node's own", fake{comm: "k3s", cgroup: "0::" + inDocker + "/init\n"}, group(inDocker + "/init"), Node, ""},
		{"a pod of a k3d node", fake{comm: "k3s", cgroup: "0::/init\n"}, group("/kubepods/besteffort/pod1/" + containerID), Container, "kubepods"},
		{"the host's, seen from a pod with hostPID", fake{comm: "systemd", cgroup: "0::/../../../init.scope\n"}, group("/../../../system.slice/kubelet.service"), Node, ""},
		{"another container beside a node in one", fake{comm: "systemd", cgroup: "0::" + inDocker + "/init.scope\n"}, group("/docker/" + strings.Repeat("b", 64)), Container, "bbb"},

		{"a strict snap", systemd, fake{mountinfo: snapMounts, cgroup: "0::/system.slice/snap.k8s.kubelet.service\n"}, Unknown, "another root file system"},
		{"a root directory that is not a mount", systemd, fake{mountinfo: "22 21 0:5 / /proc rw - proc proc rw\n"}, Unknown, "another root file system"},
	} {
		table := newTable(t, map[int]fake{1: tt.first, 7: tt.own})
		got, err := table.Judge(7)
		if err != nil || got.Owner != tt.want || !strings.Contains(got.Reason, tt.reason) || (got.Reason == "") != (tt.want == Node) {
			t.Errorf("%s: Judge = %v, %v; want %v, %q", tt.name, got, err, tt.want, tt.reason)
		}
	}
}

// TestJudgeSetUID checks that a program which makes itself root in all four ids,
// as sudo does, is still the user's who started it.
func TestJudgeSetUID(t *testing.T) {
	table := newTable(t, map[int]fake{1: systemd, 7: {}})
	sudo := filepath.Join(t.TempDir(), "sudo")
	if err := os.WriteFile(sudo, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sudo, filepath.Join(table.dir, "7", "exe")); err != nil {
		t.Fatal(err)
	}
	if v, err := table.Judge(7); err != nil || v.Owner != Node {
		t.Fatalf("Judge = %v, %v; want the node's", v, err)
	}
	if err := os.Chmod(sudo, 0o755|fs.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if v, err := table.Judge(7); err != nil || v.Owner != User {
		t.Errorf("Judge of a set-uid program = %v, %v; want a user's", v, err)
	}
}

func TestCannotSeeProcesses(t *testing.T) {
	for _, tt := range []struct {
		name        string
		first, self fake
		want        string
	}{
		{"a machine", systemd, fake{}, ""},
		{"a machine, from a sandboxed service", systemd, fake{mountinfo: "90 80 254:1 / / ro - ext4 /dev/vda1 rw\n"}, ""},
		{"OpenRC", fake{comm: "init", cgroup: "0::/\n"}, fake{}, ""},
		{"a kind node", fake{comm: "systemd", mountinfo: podMounts}, fake{mountinfo: podMounts}, ""},
		{"a k3d node", fake{comm: "k3s", mountinfo: podMounts}, fake{mountinfo: podMounts}, ""},
		{"a k3d node with an init", fake{comm: "docker-init", cmdline: "/sbin/docker-init -- /bin/k3d-entrypoint.sh server", mountinfo: podMounts}, fake{mountinfo: podMounts}, ""},
		{"a pod", fake{comm: "mirrorcred", mountinfo: podMounts}, fake{mountinfo: podMounts}, `process 1 is "mirrorcred"`},
		{"a pod's sandbox", fake{comm: "pause", mountinfo: podMounts}, fake{mountinfo: podMounts}, `process 1 is "pause"`},
		{"an image build", fake{comm: "sh", mountinfo: podMounts}, fake{mountinfo: podMounts}, `process 1 is "sh"`},
		{"a container with an init", fake{comm: "tini", cmdline: "tini -- mirrorcred", mountinfo: podMounts}, fake{mountinfo: podMounts}, `process 1 is "tini"`},
		{"a pod with hostPID", systemd, fake{mountinfo: podMounts}, "another root file system"},
		{"a user's systemd", fake{comm: "systemd", status: strings.ReplaceAll(rootStatus, "0\t0\t0\t0", "1000\t1000\t1000\t1000")}, fake{}, `process 1 is "systemd"`},
	} {
		table := newTable(t, map[int]fake{1: tt.first, 0: tt.self})
		got, err := table.Blind()
		if err != nil || (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: Blind = %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// TestHidepidShowsTooLittle checks that a /proc which hides processes shows too little.
func TestHidepidShowsTooLittle(t *testing.T) {
	table := newTable(t, map[int]fake{1: systemd})
	mounts := hostMounts + "23 21 0:6 / " + table.dir + " rw - proc proc rw,hidepid=invisible\n"
	if err := os.WriteFile(filepath.Join(table.dir, "self", "mountinfo"), []byte(mounts), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := table.Blind(); err != nil || !strings.Contains(got, "hides") {
		t.Errorf("Blind with hidepid = %q, %v", got, err)
	}
}

func TestFind(t *testing.T) {
	table := newTable(t, map[int]fake{1: systemd, 12: {}, 9: {comm: "k3s", cmdline: "k3s server"}, 10: {comm: "bash"}})
	list, unknown, err := table.Find("kubelet", "k3s")
	if err != nil || unknown != "" || len(list) != 2 || list[0].PID != 9 || list[1].PID != 12 {
		t.Fatalf("Find = %+v, %q, %v", list, unknown, err)
	}
	want := Process{PID: 12, Name: "kubelet", Started: 123450 * time.Millisecond, Unit: "kubelet.service"}
	if p := list[1]; p.Name != want.Name || p.Started != want.Started || p.Unit != want.Unit || strings.Join(p.Args, " ") != "/usr/bin/kubelet --config=/x" {
		t.Errorf("Find = %+v; want %+v", p, want)
	}
	for _, ask := range []func(int) error{
		func(pid int) error { _, err := table.process(pid); return err },
		func(pid int) error { _, err := table.Judge(pid); return err },
	} {
		if err := ask(99); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("of a process that has ended: %v; want fs.ErrNotExist", err)
		}
	}
}

// TestFindStranger checks that what a stranger can make long, or make wait, is not
// read: here it is a FIFO, whose reading is an error.
func TestFindStranger(t *testing.T) {
	users := strings.ReplaceAll(rootStatus, "0\t0\t0\t0", "65534\t65534\t65534\t65534")
	table := newTable(t, map[int]fake{1: systemd, 12: {}, 13: {status: users}, 14: {cgroup: "0::/kubepods/pod1/" + containerID + "\n"}})
	for _, pid := range []string{"13", "14"} {
		cmdline := filepath.Join(table.dir, pid, "cmdline")
		if err := errors.Join(os.Remove(cmdline), syscall.Mkfifo(cmdline, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	if list, unknown, err := table.Find("kubelet"); err != nil || unknown != "" || len(list) != 1 || list[0].PID != 12 {
		t.Errorf("Find = %+v, %q, %v; want process 12 alone", list, unknown, err)
	}
}

func TestUnitOf(t *testing.T) {
	tests := map[string]string{
		"0::/system.slice/kubelet.service\n":                                          "kubelet.service",
		"0::/kubelet.slice/kubelet.service\n":                                         "kubelet.service",
		"0::/system.slice/k3s-agent.service\n":                                        "k3s-agent.service",
		"0::/system.slice/rke2-server.service\n":                                      "rke2-server.service",
		"0::/system.slice/snap.microk8s.daemon-kubelite.service\n":                    "snap.microk8s.daemon-kubelite.service",
		"0::/system.slice/k3s.service/init\n":                                         "k3s.service",
		"0::/system.slice/system-kubelet.slice/kubelet@1.service\n":                   "kubelet@1.service",
		"12:pids:/system.slice/a.service\n1:name=systemd:/system.slice/k3s.service\n": "k3s.service",
		"1:name=systemd:/system.slice/kubelet.service\n0::/\n":                        "kubelet.service",
		// Not that of a user's own systemd, or of a container's.
		"0::/user.slice/user-0.slice/session-1.scope\n":               "",
		"0::/machine.slice/node.scope/system.slice/kubelet.service\n": "",
		"0::/kubepods.slice/pod1/system.slice/kubelet.service\n":      "",
		"0::/\n":      "",
		"12:pids:/\n": "",
		"":            "",
	}
	for groups, want := range tests {
		if got := UnitOf([]byte(groups)); got != want {
			t.Errorf("UnitOf(%q) = %q; want %q", groups, got, want)
		}
	}
}

// TestEnvironment reads the environment of this very process, as it was started.
func TestEnvironment(t *testing.T) {
	env, err := Proc.Environment(os.Getpid())
	if err != nil || !slices.Contains(env, "PATH="+os.Getenv("PATH")) {
		t.Errorf("Environment = %d entries, %v; want PATH among them", len(env), err)
	}
	if _, err := Proc.Environment(1 << 30); err == nil {
		t.Error("Environment of no process has no error")
	}
}
