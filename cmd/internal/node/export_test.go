package node

import (
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential"
)

// NewHere returns the node below a root that is taken for this machine: its
// containerd is asked, and it has no kubelet.
func NewHere(root string) *Node {
	n := New(root, "", false)
	n.elsewhere, n.host = false, &fake{moment: plan.Moment{Boot: "boot"}}
	return n
}

// NewDelivered returns a node by the time of the test with mirrors whose credential is
// handed over: one that has its source behind it, and the registry by itself. hand hands a
// credential over.
func NewDelivered(t *testing.T) (n *Node, hand func(secret string, until time.Time)) {
	n, host := newNode(t, deliverMap)
	host.clock = time.Now
	host.startKubelet(theFlags...)
	key := deliveryKey(t, n)
	return n, func(secret string, until time.Time) {
		handOver(t, n, key, handover.Value{Authorization: credential.Secret(secret), Until: until})
	}
}
