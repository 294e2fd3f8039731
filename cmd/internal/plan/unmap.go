package plan

import (
	"fmt"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// An Unmapping takes the mirrors out of the entry of [mirror.Stock].
type Unmapping struct {
	There bool // whether there is such an entry
	Plan  Plan
	// Still says which kubelet still has the mirrors, nil if none does.
	Still error
}

// Unmap plans the kubelet's configuration without mirrors, for a map whose plugin reads
// no routes. Questions are as those of [Make].
func Unmap(d Desired, o Observed, now Moments) (Unmapping, []Question, error) {
	c := newConfiguring(&d, &o, now)
	if _, there, err := findStock(&o); err != nil {
		return Unmapping{}, nil, c.faults(err)
	} else if !there {
		return Unmapping{}, nil, nil
	}
	next, err := settledConfiguration(c)
	if why := next.unsettled; err == nil && !why.None() {
		why.What = "the mirrors are still in the kubelet's configuration: " + why.What
		err = &why
	}
	if len(next.questions) > 0 || err != nil {
		return Unmapping{}, next.questions, err
	}
	read := readBy(&d, &o, c.machine, next.provided)
	p := c.emptyPlan()
	p.take(next.share.and(share{warnings: read.warnings}))
	p.takeConfiguration(next)
	p.Sources, p.Next.Kubelets = 0, read.known
	p.Next.Drains, p.Next.Adopted, p.Next.Lasting = o.State.Drains, o.State.Adopted, o.State.Lasting
	p.Next.Containerd = o.State.Containerd // which the map's is not: this one is not armed
	return Unmapping{true, p, stillMapped(c, read.list)}, nil, nil
}

// stillMapped returns which kubelet has [mirror.Stock] answer for mirrors as
// before.
func stillMapped(c *configuring, list []kubelet) error {
	if c.seen.KubeletFault != nil {
		return c.seen.KubeletFault
	}
	for _, k := range list {
		if !k.known || len(k.mirrors) > 0 {
			return &fault.Fault{
				What: fmt.Sprintf("%s still returns credentials for mirrors until the kubelet (process %d) restarts", mirror.Stock, k.PID),
				Fix:  "restart it",
			}
		}
	}
	if why := c.machine.unseen; !why.None() {
		why.What = fmt.Sprintf("%s may still return credentials for mirrors: %s", mirror.Stock, why.What)
		return &why
	}
	return nil
}
