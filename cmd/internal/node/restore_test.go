package node

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestRestoreKubelet follows a configuration that the kubelet does not come up
// with: the old one is put back, the new source stays pending and is not tried
// again until the operator asks for it.
func TestRestoreKubelet(t *testing.T) {
	n, host := newNode(t, oneMap)
	config := n.path("/var/lib/kubelet/credential-provider-config.yaml")
	apply(t, n)
	host.startKubelet(theFlags...)
	before, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}

	todo := applyMap(t, n, oneMap+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n")
	wantLeft(t, todo, "pending quay.io: the kubelet (process 100) started before")
	if !todo.NeedsRestart {
		t.Error("the plan does not say that a restart would help")
	}
	if err := n.RestoreKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	host.startKubelet(theFlags...)
	for range 2 {
		todo = apply(t, n)
		wantLeft(t, todo, "pending quay.io: the kubelet did not start with")
		if todo.NeedsRestart {
			t.Error("the plan wants the kubelet restarted again")
		}
		if now, err := os.ReadFile(config); err != nil || string(now) != string(before) {
			t.Errorf("the kubelet's configuration is %s, %v; want the old one", now, err)
		}
		wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
		wantRouted(t, n, "quay.io", "")
	}

	n.Retry = true
	todo = apply(t, n)
	if now, err := os.ReadFile(config); err != nil || !strings.Contains(string(now), "quay.io") || !todo.NeedsRestart {
		t.Errorf("tried again, the kubelet's configuration is %s, %v, restart %v", now, err, todo.NeedsRestart)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "quay.io", "contoso.azurecr.io")
}

// TestRestoreFails has the disk refuse the old configuration: that is not reported
// as done.
func TestRestoreFails(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	const added = oneMap + "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n"
	applyMap(t, n, added)
	n.disk.step = func(op string, paths ...string) error {
		if op == "rename" && paths[1] == n.path(kubeletFile) {
			return &os.PathError{Op: op, Path: paths[1], Err: syscall.ENOSPC}
		}
		return nil
	}
	if err := n.RestoreKubelet(t.Context()); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("RestoreKubelet = %v; want %v", err, syscall.ENOSPC)
	}
	n.disk.step = nil
	todo := apply(t, n)
	wantLeft(t, todo, "pending quay.io: the kubelet (process 100) started before")
	if !todo.NeedsRestart {
		t.Error("the plan does not say that a restart would help")
	}
	if err := n.RestoreKubelet(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// TestRestoreNothing checks that without an earlier configuration there is an
// error.
func TestRestoreNothing(t *testing.T) {
	n, _ := newNode(t, oneMap)
	if err := n.RestoreKubelet(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to restore") {
		t.Errorf("RestoreKubelet = %v; want nothing to put back", err)
	}
	apply(t, n)
	if err := n.RestoreKubelet(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to restore") {
		t.Errorf("RestoreKubelet after the first configuration = %v; want nothing to put back", err)
	}
}
