package e2e

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/mirrorcred/mirrorcred/e2e/cluster"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

const deliveredMap = "/etc/mirrorcred/delivered/mirrors.toml"

// TestRollout rolls mirrorcred out with what the chart renders and the API server alone:
// ring by ring, with a map that has a fault, without its pods, through a reboot, and
// off the nodes again.
func TestRollout(t *testing.T) {
	f := newFleet(t)
	k := f.k
	before := treeOf(t)

	f.rollOut(rolloutValues(retargeted(0), retargeted(0)))
	f.isOut("canary", 3)
	f.isOut("default", 2)
	f.pulls(0, "installed")
	f.hasRights()
	f.namesOwnImage()

	// One ring, and then the other.
	stable := f.pods("default")
	f.rollOut(rolloutValues(retargeted(1), retargeted(0)))
	f.isOut("canary", 3)
	f.pulls(1, "first-ring")
	sameRevision(t, stable, f.pods("default"))
	f.rollOut(rolloutValues(retargeted(1), retargeted(1)))
	f.isOut("default", 2)
	for name, p := range f.pods("default") {
		if p.configMap() == stable[name].configMap() {
			t.Errorf("the node %s still has the map %s", name, p.configMap())
		}
	}

	f.stopsAtFault()

	// Its pods are not part of a pull.
	check(t, k.Delete(t.Context(), ringPath("canary")))
	within(t, time.Minute, func() error {
		if list := f.pods("canary"); len(list) > 0 {
			return fmt.Errorf("there are still pods: %v", slices.Collect(maps.Keys(list)))
		}
		return nil
	})
	f.pulls(1, "without-pods")
	f.missesMounts()
	f.installerHasRights()
	f.installerMissesMounts()
	f.withoutImage()

	f.rollOut(rolloutValues(retargeted(2), retargeted(1)))
	f.isOut("canary", 3)
	f.pulls(2, "upgraded")
	f.twoRings()
	f.reboots()

	labelNode(t, k, "node", "stable")
	f.isOut("default", 3)
	f.pulls(1, "other-ring")
	f.upgrades()
	f.image = nextReference
	f.restartsKubelet()
	f.leaves(before)
}

// namesOwnImage checks the node with a map that mirrors the registry of the pod's image.
func (f fleet) namesOwnImage() {
	f.Helper()
	const finding, routed = "own-image-through-mirror", "/run/routed.toml"
	if out, _ := f.run("check"); strings.Contains(out, finding) {
		f.Errorf("check finds %s although no mirror serves the image:\n%s", finding, out)
	}
	write(f.T, routed, oneMirror+"[[mirror]]\nsource = \""+pauseRegistry+"\"\ntargets = [\"contoso.azurecr.io\"]\n")
	if out, _ := f.run("check", "--map", routed); !strings.Contains(out, finding) || !strings.Contains(out, chartReference) {
		f.Errorf("check does not find %s for %s:\n%s", finding, chartReference, out)
	}
}

// stopsAtFault rolls out a map with a fault to the canaries. The node that is down
// already gets it first, so it is the real one.
func (f fleet) stopsAtFault() {
	f.Helper()
	f.do("stop", "mirrorcred.service")
	f.unready(f.pods("canary")["node"].Metadata.Name, "status.sock")
	old := f.pods("canary")
	delivered, err := os.ReadFile(deliveredMap)
	check(f.T, err)
	f.rollOut(rolloutValues("version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com/oss\"\ntargets = [\"contoso.azurecr.io\"]\n", retargeted(1)))
	within(f.T, time.Minute, func() error {
		if p, ok := f.pods("canary")["node"]; !ok || p.configMap() == old["node"].configMap() {
			return errors.New("the node has no pod of the new revision")
		}
		return nil
	})
	// A service that was stopped stays so. It makes no difference here.
	f.do("start", "mirrorcred.service")
	f.unready(f.pods("canary")["node"].Metadata.Name, "mirrors.toml:3: source \"mcr.microsoft.com/oss\"")
	now := f.pods("canary")
	delete(now, "node")
	delete(old, "node")
	sameRevision(f.T, old, now)
	if data, err := os.ReadFile(deliveredMap); err != nil || string(data) != string(delivered) {
		f.Errorf("the node's map is now %q, %v; want %q", data, err, delivered)
	}
	f.pulls(1, "after-fault")
}

// sameRevision fails the test unless each node has the same pod as before.
func sameRevision(t *testing.T, before, now map[string]ringPod) {
	t.Helper()
	for name, p := range before {
		if now[name].Metadata.UID != p.Metadata.UID {
			t.Errorf("the node %s has the pod %q; want still %q", name, now[name].Metadata.Name, p.Metadata.Name)
		}
	}
	if len(now) != len(before) {
		t.Errorf("there are %d pods; want %d", len(now), len(before))
	}
}

// twoRings runs the courier of another ring beside the node's own.
func (f fleet) twoRings() {
	f.Helper()
	holder := f.pods("canary")["node"].Metadata.Name
	f.runCourier("second", "default", func(map[string]any) {})
	f.unready("second", "the pod "+holder+` of ring "canary" holds the lock; have one ring select this node`)
	f.endCourier("second")
	f.pulls(2, "two-rings")
}

// reboots ends everything on the node and starts it again in order, without an API
// server: the kubelet knows no pod but the one that it is given then.
func (f fleet) reboots() {
	f.Helper()
	f.k.StopAPIServer()
	f.do("stop", "kubelet.service")
	check(f.T, f.containerd.RemovePods(f.Context()))
	f.do("stop", "mirrorcred.service", "containerd.service")
	check(f.T, os.RemoveAll("/run/mirrorcred"))
	f.do("start", "containerd.service", "mirrorcred.service", "kubelet.service")
	f.isUp()
	f.pulls(2, "rebooted")
	list, err := f.containerd.Runtime.ListPodSandbox(f.Context(), &cri.ListPodSandboxRequest{})
	check(f.T, err)
	for _, p := range list.Items {
		f.Errorf("the pod %s runs before the pull", p.Metadata.Name)
	}
	registry, prefix, _ := strings.Cut(nthTarget(2), "/")
	push(f.T, registry, prefix+"/app/static", "1")
	check(f.T, node.RunPod("static", "mcr.microsoft.com/app/static:1"))
	runs(f.T, f.containerd, "static")
	credited(f.T, registry, prefix+"/app/static")
	check(f.T, node.RemovePod("static"))
	check(f.T, f.k.StartAPIServer(f.Context()))
	f.isOut("canary", 3)
}

// restartsKubelet rolls out a map with a new source to nodes whose watcher may restart the
// kubelet. A pod is ready only after that, so the next node waits for it. The kubelet itself
// calls a pod ready for a moment that began less than 10 s before it, until it has asked.
func (f fleet) restartsKubelet() {
	f.Helper()
	kubelet := f.mainPID("kubelet.service")
	values := rolloutValues(retargeted(2), strings.ReplaceAll(twoMirrors, contoso, nthTarget(1)))
	values = strings.NewReplacer("{name: canary,", "{name: canary, nodes: 2,", "minReadySeconds: 1\n", "minReadySeconds: 10\n").Replace(values)
	f.rollOut(values + "restartKubelet: true\nnodes: 3\nwatchFlags: --restart-jitter=5s\n")
	f.isOut("default", 3)

	restarted := f.mainPID("kubelet.service")
	if restarted == kubelet || restarted == "0" {
		f.Errorf("the new source is rolled out, and the kubelet is process %s; before it was %s", restarted, kubelet)
	}
	registry, prefix, _ := strings.Cut(nthTarget(1), "/")
	push(f.T, registry, prefix+"/quay/app/new-source", "1")
	check(f.T, node.RunPod("new-source", "quay.io/app/new-source:1"))
	runs(f.T, f.containerd, "new-source")
	credited(f.T, registry, prefix+"/quay/app/new-source")
	silent(f.T, "quay.io")
	check(f.T, node.RemovePod("new-source"))
	f.pulls(1, "old-source")
	if now := f.mainPID("kubelet.service"); now != restarted {
		f.Errorf("the kubelet is process %s; want %s still: one new source, one restart", now, restarted)
	}
}

// leaves uninstalls mirrorcred in the two steps of docs/rollout.md.
func (f fleet) leaves(before tree) {
	f.Helper()
	values := rolloutValues(retargeted(2), retargeted(1))
	values = strings.Replace(values, "}]\n", "}, {name: leaving, undo: true}]\n", 1)
	f.rollOut(values)
	f.isOut("default", 3) // its pods start anew, as it now leaves out the new ring's nodes
	names := []string{"node", "canary-2", "canary-3", "stable-1", "stable-2"}
	for _, name := range names {
		labelNode(f.T, f.k, name, "leaving")
	}
	f.isOut("leaving", len(names))

	check(f.T, f.k.Delete(f.Context(), "/api/v1/namespaces/mirrorcred"))
	for _, name := range names {
		labelNode(f.T, f.k, name, "")
	}
	within(f.T, time.Minute, func() error {
		if o, err := f.k.Get(f.Context(), "/api/v1/namespaces/mirrorcred"); codeOf(err) != http.StatusNotFound {
			return fmt.Errorf("the namespace is %s, %v", o.Text("status", "phase"), err)
		}
		return nil
	})
	if changes := slices.DeleteFunc(before.changes(treeOf(f.T), false), isOthers); len(changes) > 0 {
		f.Errorf("at the end the node is not as it was:\n%s", strings.Join(changes, "\n"))
	}
	var o struct {
		Spec struct{ Taints []struct{ Key string } }
	}
	check(f.T, f.k.Do(f.Context(), http.MethodGet, cluster.Node, nil, &o))
	for _, taint := range o.Spec.Taints {
		f.Errorf("the node has the taint %s", taint.Key)
	}
}

// isOthers reports whether a change is one of the control plane's or the pods' network.
func isOthers(change string) bool {
	return strings.HasPrefix(change, "/var/lib/controlplane") || strings.HasPrefix(change, "/var/lib/cni")
}
