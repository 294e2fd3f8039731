package node

import (
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

func TestKubeletUnit(t *testing.T) {
	kubelet := func(unit string) plan.Process { return plan.Process{Unit: unit} }
	tests := map[string][]plan.Process{
		"":                    nil,
		"k3s.service":         {kubelet("k3s.service")},
		"rke2-server.service": {kubelet(""), kubelet("rke2-server.service")}, // and that of a container
		"kubelet.service":     {kubelet("kubelet.service"), kubelet("")},
	}
	for want, running := range tests {
		n, host := newNode(t, oneMap)
		host.run = running
		if got, runs, err := n.KubeletUnit(); got != want || runs != (len(running) > 0) || err != nil {
			t.Errorf("KubeletUnit of %+v = %q, %v, %v; want %q", running, got, runs, err, want)
		}
	}
}

func TestThisMachine(t *testing.T) {
	first, err := linux{}.now()
	if err != nil {
		t.Fatal(err)
	}
	second, err := linux{}.now()
	if err != nil {
		t.Fatal(err)
	}
	if first.Boot == "" || !first.Before(second) || second.Before(first) {
		t.Errorf("two moments of this machine: %v, %v; want one boot and the second later", first, second)
	}
	if _, _, err := (linux{}).kubelets(); err != nil {
		t.Error(err)
	}
}
