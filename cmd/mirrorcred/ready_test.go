package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// ready writes a map whose mirror waits for the registry, and returns whether that is
// known to have answered.
func (n *deliveringNode) ready(source string) (is func() bool) {
	text := fmt.Sprintf("version = 1\n[[mirror]]\nsource = %q\ntargets = [%q]\nready = \"60s\"\n[registry.%[2]q]\nca = \"/ca.pem\"\n", source, n.host())
	n.write("etc/mirrorcred/mirrors.toml", text)
	m, err := node.New(n.root, "", false).ReadMap()
	if err != nil {
		n.Fatal(err)
	}
	return func() bool {
		_, err := os.Stat(filepath.Join(n.root, plan.ReadyDir, m.Mirrors[0].ReadyKey()+plan.ReadySuffix))
		return err == nil
	}
}

// TestDeliverAsksReady holds that "mirrorcred deliver" asks the first targets of the map,
// and those of the next map, and that it ends once all have answered and systemd would
// not start it again.
func TestDeliverAsksReady(t *testing.T) {
	n := newDeliveringNode(t)
	n.write("run/mirrorcred/deliver-wanted", "")
	first := n.ready("docker.io")
	done := make(chan error, 1)
	d := n.delivery()
	go func() { done <- d.run(t.Context()) }()
	n.until("the answer of the first map's target", first)
	second := n.ready("quay.io")
	n.until("the answer of the second map's target", second)
	n.endsUnwanted(done)
}

// TestAskReady holds that an apply by hand asks for a mirror that is not on yet.
func TestAskReady(t *testing.T) {
	n := newDeliveringNode(t)
	is := n.ready("docker.io")
	askReady(t.Context(), node.New(n.root, "", false))
	if !is() {
		t.Error("the target was not asked")
	}
}
