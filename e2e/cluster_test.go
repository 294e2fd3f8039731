package e2e

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/box"
	"github.com/mirrorcred/mirrorcred/e2e/cluster"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// startCluster starts a control plane, and stops it when the test ends. How to use it
// is in package cluster.
func startCluster(t *testing.T) *cluster.Cluster {
	t.Helper()
	k, err := cluster.Start(t.Context(), filepath.Dir(program("kube-apiserver")), filepath.Dir(program("ptp")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(k.Tail(20))
		}
		k.Stop()
	})
	return k
}

// joinCluster starts a kubelet as startKubelet does, but as the cluster's node, and waits
// until pods can run there. settings are further lines of its configuration.
func joinCluster(t *testing.T, k *cluster.Cluster, c *node.Containerd, settings ...string) *node.Kubelet {
	t.Helper()
	file, err := k.Kubeconfig("system:node:node")
	check(t, err)
	const extra = "/etc/kubernetes/kubelet.conf.d"
	check(t, os.RemoveAll(extra))
	// The empty list of the main file is lost when the kubelet merges this one into it.
	settings = append([]string{"apiVersion: kubelet.config.k8s.io/v1beta1", "kind: KubeletConfiguration", "enforceNodeAllocatable: [none]"}, settings...)
	write(t, extra+"/10-test.conf", strings.Join(settings, "\n"))
	push(t, pauseRegistry, "pause", "1")
	kubelet := startKubelet(t, c, "--kubeconfig="+file, "--node-ip="+box.Node, "--config-dir="+extra)
	if err := k.Wait(t.Context(), time.Minute, cluster.Node, cluster.Ready); err != nil {
		t.Fatal(err)
	}
	return kubelet
}

// podRuns fails the test unless a pod is ready within a minute.
func podRuns(t *testing.T, k *cluster.Cluster, name string) {
	t.Helper()
	if err := k.Wait(t.Context(), time.Minute, cluster.Pod("default", name), cluster.Ready); err != nil {
		t.Fatalf("%v\n%s", err, k.Events(context.Background(), "default", name))
	}
}

// A node of a real cluster: a Deployment's pod is scheduled to it and runs, with an
// address of its own and an image that its kubelet got through the mirror.
func TestCluster(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	push(t, contoso, "app/hello", "1")
	joinCluster(t, k, c)

	check(t, k.Apply(t.Context(), `
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      serviceAccountName: robot
      containers: [{name: hello, image: "mcr.microsoft.com/app/hello:1"}]
`))
	const deployment = "/apis/apps/v1/namespaces/default/deployments/hello"
	if err := k.Wait(t.Context(), time.Minute, deployment, cluster.Condition("Available")); err != nil {
		t.Fatal(err)
	}
	credited(t, contoso, "app/hello")
	silent(t, "mcr.microsoft.com")

	t.Run("strict", func(t *testing.T) {
		err := k.DryRun(t.Context(), "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: b}\ndate: {}\n")
		var status *cluster.StatusError
		if !errors.As(err, &status) || !strings.Contains(status.Message, ".date: field not declared in schema") {
			t.Errorf("a misspelt field: %v; want an error that names it", err)
		}
	})
	t.Run("rights", func(t *testing.T) {
		token, err := k.Token(t.Context(), "default", "robot", "")
		check(t, err)
		err = k.As(token).Do(t.Context(), http.MethodGet, cluster.Node, nil, nil)
		var status *cluster.StatusError
		if !errors.As(err, &status) || status.Code != http.StatusForbidden {
			t.Errorf("a service account reads the node: %v; want 403", err)
		}
		events, err := k.Audit()
		check(t, err)
		if !slices.ContainsFunc(events, func(e cluster.AuditEvent) bool {
			return e.User.Username == "system:serviceaccount:default:robot" && e.Verb == "get" && e.ObjectRef.Name == "node" && e.ResponseStatus.Code == http.StatusForbidden
		}) {
			t.Error("the audit log does not have the request of the service account")
		}
	})
	t.Run("restart", func(t *testing.T) {
		k.StopAPIServer()
		if _, err := k.Get(t.Context(), cluster.Node); err == nil {
			t.Error("the API server answers after it was stopped")
		}
		check(t, k.StartAPIServer(t.Context()))
		check(t, k.Wait(t.Context(), time.Minute, deployment, cluster.Condition("Available")))
	})
}
