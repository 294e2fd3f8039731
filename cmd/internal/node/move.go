package node

import (
	"context"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// carryAhead carries out [plan.CarryOver] before containerd reads the new tree, after
// its next start: a pull that got a credential before must find its mirror
// there. Meanwhile the plugin returns nothing.
func (n *Node) carryAhead(ctx context.Context, unarmed *NotArmedError) error {
	if !unarmed.next || n.inputs == nil || n.inputs.hostsDir == "" || n.elsewhere {
		return nil
	}
	hostsDir := n.inputs.hostsDir
	var o plan.Observed
	var err error
	if o.State, err = n.readState(); err != nil {
		return err
	}
	if o.OldHostsDir = plan.PreviousTree(o, hostsDir); o.OldHostsDir == "" {
		return nil
	}
	o.Namespaces, err = n.readTree(&o, n.path(hostsDir), nil, func(string) bool { return true })
	if err != nil {
		return err
	}
	if err := n.observeMove(&o, hostsDir); err != nil {
		return err
	}
	p := plan.CarryOver(o, hostsDir)
	if err := n.disk.discard(o.Leftovers, nil); err != nil {
		return err
	}
	return n.stage(ctx, plan.StageCarry, p.Changes, &p)
}
