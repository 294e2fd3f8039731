package node

import (
	"errors"
	"io/fs"
	"slices"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestPartsOf tells a fault of the map from one of containerd, of the kubelet's
// files and of the disk.
func TestPartsOf(t *testing.T) {
	unarmed := &NotArmedError{Reason: errors.New("x")}
	for name, test := range map[string]struct {
		err  error
		want []string
	}{
		"none":             {nil, nil},
		"map":              {errors.Join(plan.About(plan.PartMap, errors.New("x"))), []string{plan.PartMap}},
		"containerd":       {plan.About(plan.PartContainerd, unarmed), []string{plan.PartContainerd}},
		"both":             {errors.Join(plan.About(plan.PartMap, errors.New("x")), unarmed), []string{plan.PartMap, plan.PartContainerd}},
		"kubelet":          {plan.About(plan.PartKubelet, fs.ErrNotExist), []string{plan.PartKubelet}},
		"read-only system": {fs.ErrPermission, []string{plan.PartDisk}},
	} {
		if got := PartsOf(test.err); !slices.Equal(got, test.want) {
			t.Errorf("%s: PartsOf = %v; want %v", name, got, test.want)
		}
	}
	if plan.About(plan.PartMap, nil) != nil {
		t.Error("no error is one about the map")
	}
}

// TestParts has a fault in each part of a node, and the error names it.
func TestParts(t *testing.T) {
	for want, damage := range map[string]func(n *Node){
		plan.PartMap:        func(n *Node) { write(t, n.Map, "version = 2\n") },
		plan.PartContainerd: func(n *Node) { write(t, n.path("/etc/containerd/config.toml"), "version = 3\n") },
		plan.PartKubelet:    func(n *Node) { write(t, n.path("/var/lib/kubelet/credential-provider-config.yaml"), "kind: [\n") },
		plan.PartDisk:       func(n *Node) { write(t, n.path("/var/lib/mirrorcred/routes"), "a file") },
	} {
		n, _ := newNode(t, oneMap)
		damage(n)
		if _, err := n.Plan(t.Context()); !slices.Equal(PartsOf(err), []string{want}) {
			t.Errorf("%v is about %v; want %s", err, PartsOf(err), want)
		}
	}
	n, _ := newNode(t, oneMap)
	if todo, err := n.Plan(t.Context()); err != nil || todo.Generation == "" {
		t.Errorf("the plan's generation is %q, %v; want one", todo.Generation, err)
	}
}

// TestConflicts counts the sources with a conflict, each once, and none that the
// map does not name.
func TestConflicts(t *testing.T) {
	p := plan.Plan{
		HostsDir: "/etc/containerd/certs.d", Wanted: map[string]bool{"a.io": true, "b.io_5000_": true, "c.io": true},
		Conflicts: []plan.Conflict{
			{Path: "/etc/containerd/certs.d/a.io/hosts.toml"}, {Path: "/etc/containerd/certs.d/a.io"},
			{Path: "/etc/containerd/certs.d/b.io:5000"}, {Path: "/etc/containerd/certs.d/gone.io/hosts.toml"}, {Path: "/var/lib/c.io"},
		},
	}
	if got := p.ConflictingSources(); got != 2 {
		t.Errorf("Conflicts() = %d; want 2, a.io and b.io:5000", got)
	}
}
