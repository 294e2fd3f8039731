package bootstrap

import (
	"context"
	"path"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Baking is the setup of containerd's half.
type Baking struct {
	*Node
	// Mirrors is the node as package node sees it: the map's routes and files.
	Mirrors *node.Node
	// Adopt takes over what other programs have set; undo puts it back.
	Adopt bool
	// Program is the mirrorcred to install, on this machine, with the plugin beside
	// it; "" installs neither.
	Program string
	// Extras are further files of mirrorcred's, such as its manual page.
	Extras []Extra
}

// An Extra is a file with mode 0644.
type Extra struct {
	Path, Text string
	Data       []byte
}

// A BakePlan is what bake does.
type BakePlan struct {
	Plan
	// Mirrors is what apply does after the steps, if that can be known before. If
	// not, Later says why.
	Mirrors plan.Plan
	Later   string
}

// PlanBake reads the node and plans. It changes nothing.
func (b *Baking) PlanBake(ctx context.Context) (BakePlan, error) {
	var p BakePlan
	m, err := b.Mirrors.ReadMap()
	if err != nil {
		return p, err
	}
	start, err := containerd.Observer{Root: b.Root, Offline: b.Root != "", Wanted: m.Containerd, Dry: true}.Start(ctx)
	if err != nil {
		return p, err
	}
	if r := closed(start.Files); r != nil {
		p.Refusals = append(p.Refusals, *r)
		return p, nil
	}
	if err := b.planAll(&p.Plan, m, start); err != nil || len(p.Refusals) > 0 {
		return p, err
	}
	if err := b.planMirrors(ctx, &p); err != nil || len(p.Refusals) > 0 {
		return p, err
	}
	leaveToJoin(&p.Mirrors)
	p.Plan, err = b.finish(p.Plan)
	return p, err
}

// planAll plans everything but the mirrors.
func (b *Baking) planAll(p *Plan, m *mirror.Map, start containerd.Start) error {
	found, err := b.ofPackage()
	if err != nil {
		return err
	}
	if err := b.planPrograms(p, m, found); err != nil {
		return err
	}
	if err := b.planUnits(p, m, found); err != nil {
		return err
	}
	for _, e := range b.Extras {
		if found.program != "" {
			break // the package has them too
		}
		if err := b.install(p, e.Text, e.Path, e.Data, 0o644); err != nil {
			return err
		}
	}
	for _, dir := range []string{m.Containerd.HostsDir, path.Dir(m.Kubelet.Config)} {
		if err := b.mkdir(p, "", dir); err != nil { // or apply makes it, and undo would not know
			return err
		}
	}
	return b.planContainerd(p, m.Containerd, start)
}

// Bake carries a plan out, and then applies the map. The caller holds the lock. The
// plan that is returned is what apply did.
func (b *Baking) Bake(ctx context.Context, p BakePlan) (left [][]string, applied plan.Plan, err error) {
	if left, err = b.CarryOut(ctx, Bake, p.Plan); err != nil || len(p.Waiting) > 0 {
		return left, plan.Plan{}, err
	}
	if err := b.noteMirrors(ctx); err != nil {
		return left, plan.Plan{}, err
	}
	applied, err = b.Mirrors.Apply(ctx)
	leaveToJoin(&applied)
	return left, applied, err
}
