package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// A pod is a courier that runs, with the volume of its map.
type pod struct {
	tree
	cmd     *exec.Cmd
	volume  string
	address string
	log     *bytes.Buffer
}

// courier starts a courier for a node, with a map and further arguments.
func (n tree) courier(ring, text string, more ...string) *pod {
	n.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	n.must(err)
	p := &pod{tree: n, volume: n.path("volume-" + ring), address: listener.Addr().String(), log: new(bytes.Buffer)}
	n.must(listener.Close())
	p.deliver(text)
	p.cmd = program(n, append([]string{"courier", "--map", filepath.Join(p.volume, "mirrors.toml"), "--deliver", n.path(node.DeliveredDir),
		"--socket", n.path(statusSocket), "--listen", p.address, "--ring", ring, "--pod", "pod-of-" + ring}, more...)...)
	if n.program != "" {
		p.cmd.Path = n.program
	}
	p.cmd.Stderr = p.log
	n.must(p.cmd.Start())
	return p
}

// deliver changes the volume as the kubelet does.
func (p *pod) deliver(text string) {
	p.Helper()
	p.must(os.MkdirAll(p.volume, 0o755))
	version, err := os.MkdirTemp(p.volume, "..2026_")
	p.must(err)
	data, link := filepath.Join(p.volume, "..data"), filepath.Join(p.volume, "mirrors.toml")
	old, _ := os.Readlink(data) // "" at first
	p.must(os.WriteFile(filepath.Join(version, "mirrors.toml"), []byte(text), 0o644))
	p.must(os.Symlink(filepath.Base(version), data+"_tmp"))
	p.must(os.Rename(data+"_tmp", data))
	if old == "" {
		p.must(os.Symlink(filepath.Join("..data", "mirrors.toml"), link))
	} else {
		p.must(os.RemoveAll(filepath.Join(p.volume, old)))
	}
}

// get asks the pod, as the kubelet and Prometheus do.
func (p *pod) get(path string) (int, string) {
	answer, err := http.Get("http://" + p.address + path)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	data, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data)
}

func (p *pod) ready(want int, text string) {
	p.Helper()
	p.until(text, func() bool {
		code, body := p.get("/readyz")
		return code == want && strings.Contains(body, text)
	})
}

// stop ends the pod as the kubelet does.
func (p *pod) stop() string {
	p.Helper()
	p.must(p.cmd.Process.Signal(syscall.SIGTERM))
	if err := p.cmd.Wait(); err != nil {
		p.Errorf("the courier ended with %v:\n%s", err, p.log)
	}
	return p.log.String()
}

// TestCourier has a map go its whole way: a ConfigMap volume, a courier, the
// watcher on the host, hosts.toml.
func TestCourier(t *testing.T) {
	const shell = "[registry.\"a.corp\"]\ncredential = \"x\"\n[credential.x]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n"
	n := newTree(t)
	n.must(os.MkdirAll(n.path(node.DeliveredDir), 0o755))
	_, stop := n.watch(never)
	p := n.courier("canary", oneMirror("contoso.azurecr.io"))
	n.until("the first map is in force", func() bool { return strings.Contains(n.read(hostsPath), "contoso") })
	p.ready(200, "ok")
	if s := n.status(); !s.Delivered || s.MapHash == "" || !s.Armed {
		t.Errorf("the status is %+v", s)
	}
	p.deliver(oneMirror("fabrikam.azurecr.io"))
	n.until("the second map is in force", func() bool { return strings.Contains(n.read(hostsPath), "fabrikam") })
	p.ready(200, "ok")
	if code, body := p.get("/metrics"); code != 200 || !strings.Contains(body, "\nmirrorcred_in_sync 1\n") {
		t.Errorf("the metrics are %d, %s", code, body)
	}
	p.deliver(oneMirror("fabrikam.azurecr.io") + shell)
	p.ready(503, `mirrors.toml:9: command "/bin/sh" of [credential.x] is not allowed in a map from the cluster`)
	p.deliver("version = 1\n[[mirror]]\n")
	p.ready(503, "mirrors.toml:2: [[mirror]] has no source")
	if !strings.Contains(n.read(hostsPath), "fabrikam") {
		t.Errorf("with a fault, hosts.toml is %q", n.read(hostsPath))
	}
	p.deliver(oneMirror("contoso.azurecr.io"))
	p.ready(200, "ok")

	// Another ring selects the node too.
	second := n.courier("rest", oneMirror("fabrikam.azurecr.io"))
	second.ready(503, `the pod pod-of-canary of ring "canary" holds the lock`)
	p.ready(200, "ok")
	if log := p.stop(); !strings.Contains(log, "the map stays on the host") {
		t.Errorf("the log of the courier is\n%s", log)
	}
	second.ready(200, "ok")
	if !strings.Contains(n.read(hostsPath), "fabrikam") {
		t.Errorf("after the lock was taken over, hosts.toml is %q", n.read(hostsPath))
	}
	if log := second.stop(); !strings.Contains(log, "old_ring=canary old_pod=pod-of-canary") {
		t.Errorf("the log of the second courier is\n%s", log)
	}
	stop()

	// A pod that brings the node's list does not deliver what that forbids.
	n.write("pod/allowed.toml", "version = 1\n")
	third := n.courier("third", oneMirror("contoso.azurecr.io")+shell, "--allowed", n.path("pod/allowed.toml"))
	third.ready(503, `mirrors.toml:9: command "/bin/sh" of [credential.x] is not allowed in a map from the cluster`)
	third.stop()
	if n.read("etc/mirrorcred/delivered/mirrors.toml") != oneMirror("fabrikam.azurecr.io") {
		t.Error("the map did not stay")
	}
}

// TestCourierRefuses checks what a courier needs.
func TestCourierRefuses(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for args, want := range map[string]string{
		"--report-lease":               "--report-lease needs the name of the node; set NODE_NAME from spec.nodeName, or write --node",
		"--report-lease --node=node-1": "run this in a pod, or leave out --report-lease",
		"--listen=nowhere":             "--listen=nowhere: ",
		"something":                    "something",
	} {
		err := run(t.Context(), append([]string{"courier"}, strings.Fields(args)...), io.Discard)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("courier %s: %v; want %q", args, err, want)
		}
	}
	if err := run(t.Context(), []string{"courier", "--help"}, io.Discard); err != nil && !errors.Is(err, exit(0)) {
		t.Error(err)
	}
}
