package node

import (
	"os"
	"strings"
	"testing"
)

// TestRestoreKubelet follows a configuration that the kubelet does not come up
// with: the old one is put back, the new source stays pending and is not tried
// again until somebody asks for it.
func TestRestoreKubelet(t *testing.T) {
	n, host := newNode(t, oneMap)
	config := n.path("/var/lib/kubelet/credential-provider-config.yaml")
	apply(t, n)
	host.startKubelet(theFlags...)
	before, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}

	plan := applyMap(t, n, oneMap+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n")
	wantLeft(t, plan, "pending quay.io: the kubelet (process 100) started before")
	if !plan.NeedsRestart {
		t.Error("the plan does not say that a restart would help")
	}
	if err := n.RestoreKubelet(t.Context()); err != nil {
		t.Fatal(err)
	}
	host.startKubelet(theFlags...)
	for range 2 {
		plan = apply(t, n)
		wantLeft(t, plan, "pending quay.io: the kubelet did not come up with")
		if plan.NeedsRestart {
			t.Error("the plan wants the kubelet restarted again")
		}
		if now, err := os.ReadFile(config); err != nil || string(now) != string(before) {
			t.Errorf("the kubelet's configuration is %s, %v; want the old one", now, err)
		}
		wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
		wantRouted(t, n, "quay.io", "")
	}

	n.Retry = true
	plan = apply(t, n)
	if now, err := os.ReadFile(config); err != nil || !strings.Contains(string(now), "quay.io") || !plan.NeedsRestart {
		t.Errorf("tried again, the kubelet's configuration is %s, %v, restart %v", now, err, plan.NeedsRestart)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "quay.io", "contoso.azurecr.io")
}

// TestRestoreNothing holds that there has to be something to go back to.
func TestRestoreNothing(t *testing.T) {
	n, _ := newNode(t, oneMap)
	if err := n.RestoreKubelet(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to put back") {
		t.Errorf("RestoreKubelet = %v; want nothing to put back", err)
	}
	apply(t, n)
	if err := n.RestoreKubelet(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to put back") {
		t.Errorf("RestoreKubelet after the first configuration = %v; want nothing to put back", err)
	}
}
