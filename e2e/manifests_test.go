package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/mirrorcred/mirrorcred/e2e/cluster"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// chartImage are the values that name the image.
const chartImage = "image: {repository: " + pauseRegistry + "/mirrorcred, tag: \"1\"}\n"

// chartReference is the image of these values.
const chartReference = pauseRegistry + "/mirrorcred:1"

// chart renders the chart, and returns its objects.
func chart(t *testing.T, values string) []map[string]any {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	write(t, file, values)
	cmd := exec.CommandContext(t.Context(), program("manifests"), "render", "../deploy/chart", file)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("render the chart: %v\n%s", err, &stderr)
	}
	var list []map[string]any
	for _, text := range strings.Split("\n"+string(out), "\n---\n") {
		var o map[string]any
		check(t, yaml.Unmarshal([]byte(text), &o))
		if len(o) > 0 {
			list = append(list, o)
		}
	}
	return list
}

// TestManifests has the real API server judge what the chart renders, with strict
// fields, and the rights that reporting gives a pod: its own node's Lease, and nothing
// else.
func TestManifests(t *testing.T) {
	freshNode(t)
	k := startCluster(t)
	ctx := t.Context()
	check(t, k.Apply(ctx, "apiVersion: v1\nkind: Namespace\nmetadata: {name: mirrorcred}\n"))
	for name, values := range map[string]string{
		"default":   "",
		"all":       "installer: {bake: true, appArmorUnconfined: true}\nseLinux: true\nnodes: 1000\nrestartKubelet: true\nimagePullSecrets: [{name: pull}]\nrings: [{name: canary, nodes: 3, maxUnavailable: 1}, {name: pool, nodes: 3, label: agentpool, values: [a, b]}, {name: leaving, nodes: 3, undo: true}]\n",
		"courier":   "installer: {enabled: false}\n",
		"reporting": "reporting: {enabled: true}\n",
	} {
		if err := k.DryRun(ctx, manifestsOf(t, values)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	check(t, k.Apply(ctx, manifestsOf(t, "reporting: {enabled: true}\nrings: [{name: nowhere}]\n")))
	for _, name := range []string{"node-a", "node-b"} {
		check(t, k.Do(ctx, http.MethodPost, "/api/v1/nodes", map[string]any{"apiVersion": "v1", "kind": "Node", "metadata": map[string]any{"name": name}}, nil))
	}
	check(t, k.Apply(ctx, `
apiVersion: v1
kind: Pod
metadata: {name: courier, namespace: mirrorcred}
spec:
  serviceAccountName: mirrorcred
  nodeName: node-a
  containers: [{name: courier, image: none}]
`))
	token, err := k.PodToken(ctx, "mirrorcred", "courier", "")
	check(t, err)
	unbound, err := k.Token(ctx, "mirrorcred", "mirrorcred", "")
	check(t, err)
	policyCounts(t, k.As(token))

	const leases = "/apis/coordination.k8s.io/v1/namespaces/mirrorcred/leases"
	lease := func(name string) map[string]any {
		return map[string]any{
			"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"holderIdentity": "in-sync default"},
		}
	}
	generated := lease("")
	generated["metadata"] = map[string]any{"generateName": "node-a"}
	for _, c := range []struct {
		what, token, method, path string
		body                      any
		want                      int
	}{
		{"its own Lease, made", token, http.MethodPost, leases, lease("node-a"), 0},
		{"its own Lease, changed", token, http.MethodPatch, leases + "/node-a", lease("node-a"), 0},
		{"another's Lease", token, http.MethodPost, leases, lease("node-b"), 422},
		{"a Lease with a made name", token, http.MethodPost, leases, generated, 422},
		{"a token without a node, another's Lease", unbound, http.MethodPost, leases, lease("node-b"), 422},
		{"a token without a node, changed", unbound, http.MethodPatch, leases + "/node-a", lease("node-a"), 422},
		{"to read", token, http.MethodGet, leases + "/node-a", nil, 403},
		{"to list", token, http.MethodGet, leases, nil, 403},
		{"to replace", token, http.MethodPut, leases + "/node-a", lease("node-a"), 403},
		{"to delete", token, http.MethodDelete, leases + "/node-a", nil, 403},
		{"the kubelet's Lease", token, http.MethodPatch, strings.Replace(leases, "mirrorcred/", "kube-node-lease/", 1) + "/node-a", lease("node-a"), 403},
		{"a Node", token, http.MethodPatch, "/api/v1/nodes/node-a", map[string]any{"metadata": map[string]any{"labels": map[string]any{"a": "b"}}}, 403},
		{"a ConfigMap", token, http.MethodGet, "/api/v1/namespaces/mirrorcred/configmaps", nil, 403},
	} {
		err := k.As(c.token).Do(ctx, c.method, c.path, c.body, nil)
		if got := codeOf(err); got != c.want {
			t.Errorf("%s: %d, %v; want %d", c.what, got, err, c.want)
		}
	}
}

// manifestsOf returns what the chart renders, in YAML.
func manifestsOf(t *testing.T, values string) string {
	t.Helper()
	var b strings.Builder
	for _, o := range chart(t, chartImage+values) {
		text, err := yaml.Marshal(o)
		check(t, err)
		fmt.Fprintf(&b, "---\n%s", text)
	}
	return b.String()
}

// policyCounts waits until the API server has read the policy, which takes it a moment.
func policyCounts(t *testing.T, pod *cluster.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	check(t, node.Until(ctx, func() error {
		err := pod.Do(ctx, http.MethodPost, "/apis/coordination.k8s.io/v1/namespaces/mirrorcred/leases?dryRun=All",
			map[string]any{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": map[string]any{"name": "another"}}, nil)
		if codeOf(err) != 422 {
			return fmt.Errorf("another's Lease: %w", errors.Join(err, errors.New("want 422")))
		}
		return nil
	}))
}

// codeOf returns the code with which the API server refused, 0 if it did not.
func codeOf(err error) int {
	var status *cluster.StatusError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.Code
	}
	return -1
}
