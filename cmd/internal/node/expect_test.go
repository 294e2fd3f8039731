package node

import (
	"errors"
	"os"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const foreign = "# another program's\n"

// TestChangedMeanwhile has another program write a file after the plan saw it
// and before it is replaced, created or removed, at each system call between.
func TestChangedMeanwhile(t *testing.T) {
	const ns = "/etc/containerd/certs.d/mcr.microsoft.com"
	routed := func(t *testing.T, n *Node) { apply(t, n) }
	nothing := func(*testing.T, *Node) {}
	for name, test := range map[string]struct {
		before func(*testing.T, *Node)
		to     string // the map that is applied then
		path   string // what the other program writes
	}{
		"a new namespace":         {nothing, oneMap, ns + "/hosts.toml"},
		"a new file":              {func(t *testing.T, n *Node) { mkdir(t, n.path(ns)) }, oneMap, ns + "/hosts.toml"},
		"a changed file":          {routed, otherMap, ns + "/hosts.toml"},
		"a removed file":          {routed, emptyMap, ns + "/hosts.toml"},
		"beside a removed file":   {routed, emptyMap, ns + "/ca.crt"},
		"the kubelet's new file":  {nothing, oneMap, kubeletFile},
		"the kubelet's file":      {func(t *testing.T, n *Node) { write(t, n.path(kubeletFile), otherProvider) }, oneMap, kubeletFile},
		"the kubelet's old file":  {routed, emptyMap, kubeletFile},
		"a changed route":         {routed, otherMap, plan.RoutesDir + "/mcr.microsoft.com.json"},
		"a namespace made before": {nothing, oneMap, ns + "/other"},
	} {
		t.Run(name, func(t *testing.T) {
			hit := 0
			for at := 1; ; at++ {
				n, _ := newNode(t, emptyMap)
				n.elsewhere = true // so that no drain is waited for
				write(t, n.Map, oneMap)
				test.before(t, n)
				write(t, n.Map, test.to)
				steps := 0
				n.disk.step = func(string, ...string) error {
					if steps++; steps == at {
						write(t, n.path(test.path), foreign)
					}
					return nil
				}
				_, err := n.Apply(t.Context())
				if steps < at {
					break
				}
				var changed *ChangedError
				data, errRead := os.ReadFile(n.path(test.path))
				switch {
				case errors.As(err, &changed):
					hit++
				case err != nil:
					t.Fatalf("step %d: %v; want a ChangedError or none", at, err)
				}
				if errRead != nil || string(data) != foreign {
					t.Fatalf("step %d: the other program's file is %q, %v (error %v)", at, data, errRead, err)
				}
			}
			if hit == 0 {
				t.Error("no step met the other program")
			}
		})
	}
}

// TestChangedMany has the one file of many changed, as of a plan that takes
// seconds: the others are as they are, and the next run goes on.
func TestChangedMany(t *testing.T) {
	n, _ := newNode(t, manyMap("a.example"))
	n.elsewhere = true
	apply(t, n)
	write(t, n.Map, manyMap("b.example"))
	name := n.path("/etc/containerd/certs.d/r15.example/hosts.toml")
	n.disk.step = func(op string, paths ...string) error {
		if op == "syncfs" {
			write(t, name, foreign)
		}
		return nil
	}
	var changed *ChangedError
	if _, err := n.Apply(t.Context()); !errors.As(err, &changed) || changed.Path != name {
		t.Fatalf("Apply = %v; want a ChangedError of %s", err, name)
	}
	n.disk.step = nil
	wantLeft(t, apply(t, n), "left /etc/containerd/certs.d/r15.example/hosts.toml: mirrorcred did not write it")
	wantRouted(t, n, "r19.example", "b.example")
	wantRouted(t, n, "r15.example", "another program")
}
