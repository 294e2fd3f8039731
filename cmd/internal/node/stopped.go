package node

import (
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// Stopped returns why the plugin returns no credentials on this node, by the checks that
// the plugin itself makes; nil if it returns them. It is nil too if no plugin is run, or
// if the plan has changes, since to apply them lets the plugin answer again.
func (n *Node) Stopped(p plan.Plan) error {
	disabled := func(f doctor.Finding) bool { return f.Name == doctor.CRIDisabled }
	if !p.Routed || len(p.Changes)+len(p.Draining) > 0 || slices.ContainsFunc(p.Warnings, disabled) {
		return nil
	}
	if err := armed.Stopped(n.Root); err != nil {
		return err
	}
	return armed.Check(n.Root, plan.RoutesDir, p.HostsDir)
}

// noteStopped has a plan that is only shown say that the plugin is stopped.
func (n *Node) noteStopped(p *plan.Plan) {
	if err := n.Stopped(*p); err != nil {
		p.Stopped, _ = fault.Split(err.Error()) // what to do was for the moment when it was written
	}
}
