package node

import (
	"context"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A carrier carries one plan out on the disk of a node. It is a [plan.Carrier].
type carrier struct {
	*Node
	resume *armed.Mark // the marker to remove; nil if there is none
}

// Change makes the changes of one stage.
func (c *carrier) Change(ctx context.Context, stage plan.Stage, changes []plan.Change, p *plan.Plan) error {
	if err := c.stage(ctx, stage, changes, p); err != nil {
		return err
	}
	if stage == plan.StageKubelet { // succeeds or fails as a whole
		for _, one := range changes {
			c.made(one)
		}
	}
	return nil
}

// Remember writes the state.
func (c *carrier) Remember(s plan.State) error { return c.writeState(s) }

// Arm writes the record of what the node is armed by.
func (c *carrier) Arm() error { return c.arm(*c.rearmed) }

// Disarm removes the record.
func (c *carrier) Disarm() error { return c.forgetArming() }

// Resume removes the marker that stops the plugin.
func (c *carrier) Resume() error {
	if c.resume == nil {
		return nil
	}
	return armed.Resume(c.Root, *c.resume)
}

// Interrupted returns an error if the run must end.
func (c *carrier) Interrupted(ctx context.Context) error { return interrupted(ctx) }

// Now returns the present moment.
func (c *carrier) Now() (plan.Moment, error) { return c.host.now() }

// Kubelets returns the kubelets that run: none below another root.
func (c *carrier) Kubelets() ([]plan.Process, string, error) {
	if c.elsewhere {
		return nil, "", nil
	}
	return c.host.kubelets()
}

// Stamp returns the stamp of the kubelet's files. What mirrorcred reads after
// that is what was stamped.
func (c *carrier) Stamp(p *plan.Plan) (string, bool) {
	stamp, ok := "", false
	for _, one := range p.Changes {
		if one.Stage != plan.StageKubelet {
			continue
		}
		v, err := versionOf(c.tree, c.path(p.KubeletConfig))
		if err == nil && (expected{path: c.path(one.Path), data: one.New}).holds(c.disk.tree) {
			stamp, ok = v.Stamp, true
		}
	}
	return stamp, ok
}
