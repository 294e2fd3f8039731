package node

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
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
			t.Errorf("startTime(%q) = %v, %t; want %v", stat, got, ok, want)
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
		got, ok := process{args: test.args}.flag("config")
		if got != test.want || ok != test.ok {
			t.Errorf("flag of %q = %q, %t; want %q, %t", test.args, got, ok, test.want, test.ok)
		}
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
		if got := unitOf([]byte(groups)); got != want {
			t.Errorf("unitOf(%q) = %q; want %q", groups, got, want)
		}
	}
}

func TestKubeletUnit(t *testing.T) {
	kubelet := func(unit string) process { return process{unit: unit} }
	tests := map[string][]process{
		"":                    nil,
		"k3s.service":         {kubelet("k3s.service")},
		"rke2-server.service": {kubelet(""), kubelet("rke2-server.service")}, // and that of a container
		"kubelet.service":     {kubelet("kubelet.service"), kubelet("")},
	}
	for want, running := range tests {
		n, host := newNode(t, oneMap)
		host.run = running
		if got, err := n.KubeletUnit(); got != want || err != nil {
			t.Errorf("KubeletUnit of %+v = %q, %v; want %q", running, got, err, want)
		}
	}
}

// at is a moment of one boot.
func at(seconds int) Moment { return Moment{"boot", time.Duration(seconds) * time.Second} }

func TestProvide(t *testing.T) {
	a, b, c := []entry{{Name: "a"}}, []entry{{Name: "a", Match: []string{"b"}}}, []entry{{Name: "a", Token: "c"}}
	var s state
	s.provide(a, at(10), nil)
	s.provide(a, at(20), nil)
	if want := []provided{{at(10), a}}; !reflect.DeepEqual(s.Provided, want) {
		t.Errorf("after the same twice: %v; want %v", s.Provided, want)
	}
	// A kubelet that has a runs on while b and c come.
	running := []process{{started: at(15)}}
	s.provide(b, at(30), running)
	s.provide(c, at(40), running)
	for started, want := range map[int][]entry{5: nil, 10: nil, 11: a, 30: a, 31: b, 41: c} {
		if got := s.readBy(at(started)); !reflect.DeepEqual(got, want) {
			t.Errorf("a kubelet started at %d has %v; want %v", started, got, want)
		}
	}
	if got := s.readBy(Moment{"another boot", time.Second}); !reflect.DeepEqual(got, c) {
		t.Errorf("a kubelet of the next boot has %v; want %v", got, c)
	}
	// It restarts: nobody has a or b any more.
	s.provide(a, at(50), []process{{started: at(45)}})
	if want := []provided{{at(40), c}, {at(50), a}}; !reflect.DeepEqual(s.Provided, want) {
		t.Errorf("after the restart: %v; want %v", s.Provided, want)
	}
}

func TestThisMachine(t *testing.T) {
	first, err := linux{}.now()
	if err != nil {
		t.Fatal(err)
	}
	second, err := linux{}.now()
	if err != nil {
		t.Fatal(err)
	}
	if first.Boot == "" || !first.before(second) || second.before(first) {
		t.Errorf("two moments of this machine: %v, %v; want one boot and the second later", first, second)
	}
	if _, err := (linux{}).kubelets(); err != nil {
		t.Error(err)
	}
}

func TestSourceOf(t *testing.T) {
	for namespace, want := range map[string]string{
		"_default": "*", "docker.io": "docker.io", "harbor.corp_8443_": "harbor.corp:8443", "[2001:db8::1]_5000_": "[2001:db8::1]:5000",
	} {
		if got := sourceOf(namespace); got != want {
			t.Errorf("sourceOf(%q) = %q; want %q", namespace, got, want)
		}
	}
}

func TestVersionOfProgram(t *testing.T) {
	dir := t.TempDir()
	for name, test := range map[string]struct{ prints, want, fault string }{
		"kubelet":     {"Kubernetes v1.34.2", "1.34.2", ""},
		"k3s":         {"k3s version v1.35.1+k3s1 (abcdef12)\ngo version go1.25.5", "1.35.1", ""},
		"development": {"Kubernetes v0.0.0-master+$Format:%H$", "", "prints no version of Kubernetes"},
		"silent":      {"", "", "prints no version of Kubernetes"},
	} {
		path := filepath.Join(dir, name)
		write(t, path, "#!/bin/sh\n[ \"$*\" = --version ] && echo '"+test.prints+"'\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{path, "--root-dir=/x"}, {path + " server"}} {
			got, err := linux{}.version(process{pid: 1, args: args})
			if got != test.want || (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
				t.Errorf("version of %q = %q, %v; want %q, %q", args, got, err, test.want, test.fault)
			}
		}
	}
	if _, err := (linux{}).version(process{pid: 7, args: []string{filepath.Join(dir, "gone")}}); err == nil || !strings.Contains(err.Error(), "(process 7)") {
		t.Errorf("version of a program that is gone: %v", err)
	}
}
