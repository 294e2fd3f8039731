package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/e2e/box"
	"github.com/mirrorcred/mirrorcred/e2e/cluster"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A fleet is a cluster with one real node, which systemd manages and on which nothing
// of mirrorcred is, and others that are played. The chart is all that reaches it.
type fleet struct {
	*bare
	k     *cluster.Cluster
	image string // what the chart's pods run
}

// newFleet returns a fleet whose real node is in the ring canary, with played nodes in
// it and in the default one.
func newFleet(t *testing.T) fleet {
	t.Helper()
	n := bareMachine(t, versions()[0])
	check(t, os.RemoveAll("/etc/mirrorcred"))
	f := fleet{n, startCluster(t), chartReference}
	kubeconfig, err := f.k.Kubeconfig("system:node:node")
	check(t, err)
	check(t, n.packages.KubeadmJoin())
	write(t, "/var/lib/kubelet/kubeadm-flags.env", fmt.Sprintf("KUBELET_KUBEADM_ARGS=\"--bootstrap-kubeconfig= --kubeconfig=%s --node-ip=%s --root-dir=%s --hostname-override=node --v=2\"\n",
		kubeconfig, box.Node, node.KubeletRoot))
	config, err := os.ReadFile(node.ContainerdConfig)
	check(t, err)
	// The pause image comes through no mirror here: a pod starts before there is one.
	write(t, node.ContainerdConfig, strings.Replace(string(config), privatePause, pauseImage, 1))
	push(t, pauseRegistry, "pause", "1")
	pushMirrorcred(t, "inspect")
	n.bus()
	n.do("start", "containerd.service", "kubelet.service")
	t.Cleanup(func() {
		if t.Failed() {
			f.tellPods()
		}
		n.do("stop", "kubelet.service")
	})
	n.isUp()
	check(t, f.k.Wait(t.Context(), time.Minute, cluster.Node, cluster.Ready))
	labelNode(t, f.k, "node", "canary")
	playNodes(t, f.k, "canary", "canary-2", "canary-3")
	playNodes(t, f.k, "stable", "stable-1", "stable-2")
	check(t, f.k.Apply(t.Context(), "apiVersion: v1\nkind: Namespace\nmetadata: {name: mirrorcred}\n"))
	return f
}

// rolloutValues are those of the chart with a map for each of the two rings.
func rolloutValues(canary, rest string) string {
	return fmt.Sprintf("installer: {bake: true}\nmaxUnavailable: 1\nminReadySeconds: 1\nmap: %q\nrings: [{name: canary, map: %q}]\n", rest, canary)
}

// rollOut applies the chart.
func (f fleet) rollOut(values string) {
	f.Helper()
	check(f.T, f.k.Apply(f.Context(), strings.ReplaceAll(manifestsOf(f.T, values), chartReference, f.image)))
}

// isOut waits until a ring has its newest revision on that many nodes.
func (f fleet) isOut(ring string, nodes int) {
	f.Helper()
	check(f.T, f.k.Wait(f.Context(), 90*time.Second, ringPath(ring), rolledOut(nodes)))
}

// tellPods logs how the node's pods are.
func (f fleet) tellPods() {
	for _, ring := range []string{"canary", "default", "leaving"} {
		pods, _ := podsOf(context.Background(), f.k, ring)
		if p, ok := pods["node"]; ok {
			f.Logf("%s, ready: %v\n%s", p.Metadata.Name, cluster.Ready(p.object), f.k.Events(context.Background(), "mirrorcred", p.Metadata.Name))
		}
	}
	logs, _ := filepath.Glob("/run/log/pods/mirrorcred_*/*/*.log")
	for _, file := range logs {
		data, _ := os.ReadFile(file)
		f.Logf("--- %s\n%s", file, data[max(0, len(data)-2000):])
	}
}

func (f fleet) pods(ring string) map[string]ringPod {
	f.Helper()
	pods, err := podsOf(f.Context(), f.k, ring)
	check(f.T, err)
	return pods
}

// pulls has the node pull an image that only the n-th target has.
func (f fleet) pulls(n int, name string) {
	f.Helper()
	registry, prefix, _ := strings.Cut(nthTarget(n), "/")
	push(f.T, registry, prefix+"/app/"+name, "1")
	check(f.T, pull(f.Context(), f.containerd, "mcr.microsoft.com/app/"+name, "1"))
	credited(f.T, registry, prefix+"/app/"+name)
	silent(f.T, "mcr.microsoft.com")
}

// unready waits until a pod is not ready for a reason, which its own page names.
func (f fleet) unready(pod, reason string) {
	f.Helper()
	within(f.T, time.Minute, func() error {
		o, err := f.k.Get(f.Context(), cluster.Pod("mirrorcred", pod))
		if err != nil {
			return err
		}
		if cluster.Ready(o) == nil {
			return fmt.Errorf("the pod %s is ready", pod)
		}
		answer, err := (&http.Client{Timeout: 10 * time.Second}).Get("http://" + o.Text("status", "podIP") + ":9469/readyz")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		said, err := io.ReadAll(answer.Body)
		if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(said), reason) {
			return errors.Join(err, fmt.Errorf("the pod %s answers %s: %s; want 503 and %q", pod, answer.Status, said, reason))
		}
		return nil
	})
}

// runCourier runs the pod of a ring without its installer, by itself, after a change.
func (f fleet) runCourier(name, ring string, change func(courier map[string]any)) {
	f.Helper()
	f.runPart(name, ring, func(spec map[string]any) {
		delete(spec, "initContainers")
		change(spec["containers"].([]any)[0].(map[string]any))
	})
}

// runPart runs the pod of a ring by itself on the node, after a change.
func (f fleet) runPart(name, ring string, change func(spec map[string]any)) {
	f.Helper()
	for _, o := range chart(f.T, chartImage+rolloutValues(retargeted(1), retargeted(1))) {
		if o["kind"] != "DaemonSet" || o["metadata"].(map[string]any)["labels"].(map[string]any)["mirrorcred.io/ring"] != ring {
			continue
		}
		template := o["spec"].(map[string]any)["template"].(map[string]any)
		spec := template["spec"].(map[string]any)
		delete(spec, "affinity")
		spec["nodeName"] = "node"
		change(spec)
		metadata := map[string]any{"name": name, "namespace": "mirrorcred", "annotations": template["metadata"].(map[string]any)["annotations"]}
		text, err := yaml.Marshal(map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
		check(f.T, err)
		check(f.T, f.k.Apply(f.Context(), string(text)))
	}
}

// endCourier removes such a pod, and waits until its container has ended.
func (f fleet) endCourier(name string) {
	f.Helper()
	check(f.T, f.k.Delete(f.Context(), cluster.Pod("mirrorcred", name)))
	within(f.T, time.Minute, func() error {
		list, err := f.containerd.Runtime.ListContainers(f.Context(), &cri.ListContainersRequest{Filter: &cri.ContainerFilter{
			LabelSelector: map[string]string{"io.kubernetes.pod.name": name}, State: &cri.ContainerStateValue{State: cri.ContainerState_CONTAINER_RUNNING},
		}})
		if err == nil && len(list.Containers) > 0 {
			err = fmt.Errorf("the pod %s still runs", name)
		}
		return err
	})
}
