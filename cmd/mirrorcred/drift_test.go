package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
	"github.com/mirrorcred/mirrorcred/hosts"
)

const (
	kubeletPath = "var/lib/kubelet/credential-provider-config.yaml"
	anyPath     = "var/lib/mirrorcred/routes/_default.json"
)

// Other programs' files, beside mirrorcred's.
var others = map[string]string{
	"etc/containerd/certs.d/quay.io/hosts.toml": "server = \"https://quay.io\"\n",
	"etc/containerd/certs.d/README":             "by hand\n",
}

const otherProvider = `apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
  - name: other
    matchImages: ["other.example"]
    defaultCacheDuration: 0s
    apiVersion: credentialprovider.kubelet.k8s.io/v1
`

// never is a tick that does not come: what is noticed is noticed at once.
const never = "--tick=24h"

func (n tree) must(err error) {
	n.Helper()
	if err != nil {
		n.Fatal(err)
	}
}

func (n tree) path(name string) string { return filepath.Join(n.root, name) }

// TestDrift changes behind the back of a watcher what it has written.
func TestDrift(t *testing.T) {
	n := newTree(t)
	for name, text := range others {
		n.write(name, text)
	}
	n.write(kubeletPath, otherProvider)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	_, stop := n.watch(never)
	n.until("in sync", func() bool { return n.status().InSync })

	remove := func(name string) { n.must(os.Remove(n.path(name))) }
	empty := func(name string) { n.must(os.Truncate(n.path(name), 0)) }
	for _, drift := range []struct {
		what   string
		path   string
		change func(name string)
	}{
		{"hosts.toml removed", hostsPath, remove},
		{"hosts.toml emptied", hostsPath, empty},
		{"its directory removed", hostsPath, func(name string) { n.must(os.RemoveAll(filepath.Dir(n.path(name)))) }},
		{"route removed", routePath, remove},
		{"route emptied", routePath, empty},
		{"route edited", routePath, func(name string) { n.write(name, strings.Replace(n.read(name), "contoso", "fabrikam", 1)) }},
		{"route of any removed", anyPath, remove},
		{"our provider removed", kubeletPath, func(name string) { n.write(name, otherProvider) }},
		{"our provider edited", kubeletPath, func(name string) { n.write(name, strings.Replace(n.read(name), "mcr.microsoft.com", "mcr.example", 1)) }},
	} {
		whole := n.read(drift.path)
		drift.change(drift.path)
		n.until(drift.what, func() bool { return n.read(drift.path) == whole && n.status().InSync })
	}
	if !strings.HasPrefix(n.read(kubeletPath), otherProvider) {
		t.Errorf("the kubelet's file is %q; want the other provider in it as it was", n.read(kubeletPath))
	}
	for name, text := range others {
		if n.read(name) != text {
			t.Errorf("%s is %q; want it untouched", name, n.read(name))
		}
	}
	if log := stop(); strings.Contains(log, "level=WARN") || strings.Contains(log, "level=ERROR") {
		t.Errorf("the log is\n%s", log)
	}
}

// TestEdited edits a hosts.toml. It is left, and no credential is returned by
// it, until it is as it was or taken over.
func TestEdited(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	_, stop := n.watch(never)
	n.until("in sync", func() bool { return n.status().InSync })
	whole := n.read(hostsPath)
	edited := whole + "# by hand\n"
	edit := func() {
		n.write(hostsPath, edited)
		n.until("left", func() bool {
			s := n.status()
			return len(s.Conflicts) == 1 && strings.Contains(s.Conflicts[0].Reason, "--adopt")
		})
		if n.read(hostsPath) != edited {
			t.Errorf("hosts.toml is %q; want it left", n.read(hostsPath))
		}
		if strings.Contains(n.read(routePath), hosts.Hash([]byte(edited))) {
			t.Error("the route knows the edited file; want no credential answered by it")
		}
	}
	edit()
	n.write(hostsPath, whole)
	n.until("put back by hand", func() bool { return n.status().InSync })
	edit()
	if out, err := program(t, "apply", "--adopt", "--root", n.root).CombinedOutput(); err != nil {
		t.Errorf("apply --adopt: %v\n%s", err, out)
	}
	n.until("taken over", func() bool { return n.read(hostsPath) == whole && n.status().InSync })
	if copies, err := filepath.Glob(n.path("var/lib/mirrorcred/adopted/mcr.microsoft.com-*.toml")); err != nil || len(copies) != 1 {
		t.Errorf("copies of the edited file are %q, %v; want one", copies, err)
	}
	if log := stop(); strings.Count(log, "msg=conflict ") != 2 || strings.Count(log, "conflict resolved") != 2 {
		t.Errorf("the log is\n%s\nwant it to report two conflicts, and that they are resolved", log)
	}
}

// TestBackoff removes a file whenever it exists.
func TestBackoff(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	_, stop := n.watch(never)
	n.until("in sync", func() bool { return n.status().InSync })
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-enough:
				return
			case <-time.After(time.Millisecond):
				_ = os.Remove(n.path(hostsPath))
			}
		}
	}()
	n.until("a backoff", func() bool { return n.status().BackingOff })
	// What the operator asks for meanwhile is done.
	n.write(mapPath, oneMirror("fabrikam.azurecr.io"))
	n.until("another map", func() bool { return strings.Contains(n.read(routePath), "fabrikam") })
	close(enough)
	<-ended
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	n.until("peace", func() bool { return n.status().InSync && strings.Contains(n.read(hostsPath), "contoso") })
	if log := stop(); !strings.Contains(log, "another program keeps reverting files") || !strings.Contains(log, "/"+hostsPath) {
		t.Errorf("the log is\n%s\nwant the fight in it, and over what", log)
	}
}

// TestWriteFails has the watcher fail to write again and again. That is a
// fault, which is said once, and no fight; and to have tried is no reason to
// try again.
func TestWriteFails(t *testing.T) {
	n := newTree(t)
	n.must(os.MkdirAll(n.path(routePath), 0o755)) // blocks the route
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	cmd, stop := n.watch(never)
	fault := func() bool { return strings.Contains(n.status().Fault, routePath) }
	n.until("a fault", fault)
	for range 8 {
		before := n.status().LastReconcile
		n.must(cmd.Process.Signal(syscall.SIGHUP))
		n.until("another pass", func() bool { return n.status().LastReconcile.After(before) })
	}
	if s := n.status(); s.BackingOff || !fault() {
		t.Errorf("the status is %+v; want a fault and no fight", s)
	}
	n.until("it looks no more", func() bool {
		before := n.status().LastReconcile
		time.Sleep(100 * time.Millisecond)
		return n.status().LastReconcile.Equal(before)
	})
	n.must(os.Remove(n.path(routePath)))
	n.until("in sync", func() bool { return n.status().InSync })
	if log := stop(); strings.Count(log, "map not applied") != 1 || strings.Contains(log, "another program keeps") {
		t.Errorf("the log is\n%s\nwant one fault", log)
	}
}

// TestRemoval takes a source out of a map that is written again and again. All
// else in the map is done meanwhile, and the source goes when the map is still.
func TestRemoval(t *testing.T) {
	n := newTree(t)
	n.write(mapPath, oneMirror("contoso.azurecr.io"))
	_, stop := n.watch(never)
	n.until("in sync", func() bool { return n.status().InSync })
	whole := n.read(hostsPath)
	socket := n.path("run/mirrorcred/status/status.sock")
	other := strings.Replace(oneMirror("fabrikam.azurecr.io"), "mcr.microsoft.com", "quay.io", 1)
	const otherPath = "etc/containerd/certs.d/quay.io/hosts.toml"
	n.until("held, and the rest done", func() bool {
		n.write(mapPath, other)
		s, err := watch.ReadStatus(t.Context(), nil, socket)
		return err == nil && !s.InSync && len(s.Held) == 1 && s.Held[0].Source == "mcr.microsoft.com" &&
			n.read(hostsPath) == whole && strings.Contains(n.read(otherPath), "fabrikam")
	})
	written := time.Now()
	n.write(mapPath, other)
	n.until("gone", func() bool { return n.read(hostsPath) == "" && n.status().InSync })
	const tick = 20 * time.Millisecond // of the clock of files, at most
	if took := time.Since(written); took < 2*time.Second-tick {
		t.Errorf("the source was removed %s after the map was written; want 2 s", took)
	}
	if n.read(routePath) != "" || !strings.Contains(n.read(otherPath), "fabrikam") {
		t.Error("the route of a removed source is there, or the other source is not")
	}
	if log := stop(); strings.Contains(log, "level=ERROR") {
		t.Errorf("the log is\n%s", log)
	}
}
