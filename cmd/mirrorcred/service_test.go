package main

import (
	"context"
	"errors"
	"testing"
)

// A fakeNode is one whose kubelet runs in a unit.
type fakeNode struct {
	unit string
	err  error
}

func (n *fakeNode) KubeletUnit() (string, bool, error)   { return n.unit, n.unit != "", n.err }
func (n *fakeNode) RestoreKubelet(context.Context) error { return nil }

func TestKubeletUnit(t *testing.T) {
	n := &fakeNode{}
	k := kubeletUnit{node: n}
	want := func(unit string) {
		t.Helper()
		if got, _, err := k.unit(); got != unit || err != nil {
			t.Errorf("the unit is %q, %v; want %q", got, err, unit)
		}
	}
	want("kubelet.service") // the usual one, if none runs
	n.unit = "k3s.service"
	want("k3s.service")
	n.unit = "" // it does not come up
	want("k3s.service")
	n.err = errors.New("no /proc")
	if _, _, err := k.unit(); !errors.Is(err, n.err) {
		t.Errorf("the error is %v; want %v", err, n.err)
	}
	k.named = "rke2-agent.service"
	want("rke2-agent.service")
}
