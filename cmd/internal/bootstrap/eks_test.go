package bootstrap

import (
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
)

// TestEKSBoots boots a node of EKS after bake and join: nodeadm writes its files anew,
// with what both phases told it. Then bake and join do the rest, and nothing is left to
// find.
func TestEKSBoots(t *testing.T) {
	nodes, err := layouts.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(nodes, func(n layouts.Node) bool { return n.Name == "EKS" })
	w := &wholeNode{T: t, node: nodes[at], root: t.TempDir(), program: program(t)}
	w.layOut()
	w.bake()
	w.join()

	var told struct {
		Spec struct {
			Kubelet    struct{ Flags []string }
			Containerd struct{ Config string }
		}
	}
	for _, name := range slices.Concat(w.node.Bake.Writes, w.node.Join.Writes) {
		if err := yaml.Unmarshal([]byte(w.files()[name]), &told); err != nil {
			t.Fatal(err)
		}
	}
	const config, flags = "/etc/containerd/config.toml", "/etc/eks/kubelet/environment"
	_, setting, ok := strings.Cut(told.Spec.Containerd.Config, "\n")
	if !ok || len(told.Spec.Kubelet.Flags) != 1 {
		t.Fatalf("nodeadm is told %+v", told)
	}
	const list = "config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n"
	write(t, w.root, config, strings.Replace(w.files()[config], list, setting, 1), 0o644)
	write(t, w.root, flags, w.files()[flags]+" "+told.Spec.Kubelet.Flags[0], 0o644)

	w.node.Containerd.Name = "EKS, booted" // nothing is left to do
	w.phase("bake", layouts.Outcome{}, w.planBake, w.bake)
	w.phase("join", layouts.Outcome{}, w.planJoin, w.join)
	w.isHealthy()
}
