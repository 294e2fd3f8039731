package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestJitter holds the rule for the time that nodes wait, and that it needs their
// number.
func TestJitter(t *testing.T) {
	for nodes, want := range map[int]string{1: "30s", 100: "30s", 818: "65s", 1000: "79s", 5000: "393s", 10000: "786s"} {
		list := mustRender(t, fmt.Sprintf("%srestartKubelet: true\nnodes: %d\n", image, nodes))
		args := fmt.Sprint(containers(podOf(t, ofKind(list, "DaemonSet")[0]), "initContainers")[0]["args"])
		if want := "--watch-flags=--restart-kubelet --restart-jitter=" + want + "]"; !strings.HasSuffix(args, want) {
			t.Errorf("%d nodes: %s; want %s", nodes, args, want)
		}
	}
}

// TestRings asks for each node which rings select it: always one.
func TestRings(t *testing.T) {
	list := ofKind(mustRender(t, image+`
rings:
  - {name: canary, map: "version = 1\n# canary\n", maxUnavailable: 1}
  - {name: pool, label: agentpool, values: [gpu, gpu2]}
  - {name: leaving, undo: true}
`), "DaemonSet")
	for _, c := range []struct {
		labels map[string]string
		want   string
	}{
		{nil, "mirrorcred-default"},
		{map[string]string{"mirrorcred.io/ring": "other"}, "mirrorcred-default"},
		{map[string]string{"agentpool": "gpu2"}, "mirrorcred-pool"},
		{map[string]string{"agentpool": "cpu"}, "mirrorcred-default"},
		{map[string]string{"mirrorcred.io/ring": "canary", "agentpool": "gpu"}, "mirrorcred-canary"},
		{map[string]string{"mirrorcred.io/ring": "leaving"}, "mirrorcred-leaving"},
		{map[string]string{"mirrorcred.io/ring": "leaving", "agentpool": "gpu"}, "mirrorcred-pool"},
	} {
		var got []string
		for _, m := range list {
			if selects(podOf(t, m), c.labels) {
				got = append(got, m.name())
			}
		}
		if !slices.Equal(got, []string{c.want}) {
			t.Errorf("a node with %v is in %q; want %s", c.labels, got, c.want)
		}
	}
	leaving := podOf(t, list[slices.IndexFunc(list, func(m manifest) bool { return m.name() == "mirrorcred-leaving" })])
	want := map[string]string{"undo": "/usr/local/lib/mirrorcred rw, /etc/systemd/system rw, /run/dbus ro"}
	if got := hostPaths(leaving); !maps.Equal(got, want) {
		t.Errorf("a ring that undoes mounts %q; want %q", got, want)
	}
}

// selects judges the node affinity of a pod, as the scheduler does.
func selects(spec map[string]any, labels map[string]string) bool {
	m := manifest{fields: spec}
	terms, _ := m.at("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms").([]any)
	if terms == nil {
		return true
	}
	for _, e := range terms[0].(map[string]any)["matchExpressions"].([]any) {
		e := e.(map[string]any)
		value, has := labels[e["key"].(string)]
		isIn := has && slices.Contains(e["values"].([]any), any(value))
		if isIn != (e["operator"] == "In") {
			return false
		}
	}
	return true
}
