package node

import "github.com/mirrorcred/mirrorcred/cmd/internal/plan"

// NewHere returns the node below a root that is taken for this machine: its
// containerd is asked, and it has no kubelet.
func NewHere(root string) *Node {
	n := New(root, "", false)
	n.elsewhere, n.host = false, &fake{moment: plan.Moment{Boot: "boot"}}
	return n
}
