package main

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/bootstrap"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// newJoining returns the setup of the kubelet's half, for the node that the flags
// name.
func newJoining(f bootFlags, p *printer) (*bootstrap.Joining, error) {
	b, err := newBaking(f, p)
	if err != nil {
		return nil, err
	}
	b.Mirrors.NoKubelet = false // whether one runs is what matters here
	b.Mirrors.NoDelivery = false
	return &bootstrap.Joining{Baking: b}, nil
}

// runJoin is "bootstrap join". Whether it is refused is known before anything is
// written, the lock included.
func runJoin(ctx context.Context, f bootFlags, stdout io.Writer) error {
	p := &printer{w: stdout}
	j, err := newJoining(f, p)
	if err != nil {
		return err
	}
	list, err := j.PlanAllowed(f.allowed)
	if err != nil {
		return err
	}
	// The map is judged by the list, so a changed one goes first.
	if f.dryRun || len(list.Steps) == 0 {
		todo, err := j.PlanJoin(ctx)
		if err != nil || len(todo.Refusals) > 0 {
			return errors.Join(err, refusals(todo.Refusals))
		}
		if f.dryRun {
			todo.Plan.Steps = slices.Concat(list.Steps, todo.Plan.Steps)
			return printJoin(p, todo)
		}
	}
	release, err := j.Mirrors.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	if _, err := j.CarryOut(ctx, bootstrap.Join, list); err != nil {
		return err
	}
	todo, err := j.PlanJoin(ctx)
	if err != nil || len(todo.Refusals) > 0 {
		return errors.Join(err, refusals(todo.Refusals))
	}
	left, applied, err := j.Join(ctx, todo)
	if err != nil {
		return err
	}
	waits := p.remains(todo.Plan, left)
	if todo.Later != "" {
		return errors.Join(waits, p.err)
	}
	return errors.Join(printRest(stdout, applied, false), outcome(applied, false), waits, p.err)
}

// printJoin prints what join would do, in order.
func printJoin(p *printer, todo bootstrap.JoinPlan) error {
	all := todo.Plan
	all.Steps = todo.Steps()
	return errors.Join(p.steps(all), p.dry(all.Steps, todo.Mirrors, todo.Later))
}

// runUndo is "bootstrap undo".
func runUndo(ctx context.Context, f bootFlags, stdout io.Writer) error {
	p := &printer{w: stdout}
	j, err := newJoining(f, p)
	if err != nil {
		return err
	}
	if state, err := j.Observe(plan.StateDir); err != nil || state == nil {
		p.printf("nothing to undo\n")
		return errors.Join(err, p.err)
	}
	if f.dryRun {
		return dryUndo(ctx, j, p)
	}
	release, err := j.Mirrors.Hold(ctx)
	if err != nil {
		return err
	}
	defer release()
	u, err := j.Undo(ctx)
	if err != nil {
		return err
	}
	code := p.remains(bootstrap.Plan{Waiting: u.Waiting}, u.Commands)
	p.kept(u.Kept)
	if u.Copies != "" {
		p.printf("%-9s%s: copies of what \"mirrorcred apply --adopt\" replaced; put back what you need\n", "kept", u.Copies)
	}
	switch {
	case len(u.Waiting) > 0:
		p.printf("run this again once nothing waits; hosts.toml and the programs stay until then\n")
	case len(u.Kept) > 0:
		code = exit(1)
	}
	return errors.Join(code, p.err)
}

// kept prints the files that undo leaves as they are.
func (p *printer) kept(list []bootstrap.Kept) {
	for _, one := range list {
		p.printf("%-9s%s: %s\n", "kept", one.Path, one.Reason)
	}
}

// dryUndo prints what undo would do.
func dryUndo(ctx context.Context, j *bootstrap.Joining, p *printer) error {
	p.printf("the mirrors are withdrawn first, as with an empty map\n")
	todo, stays, err := j.PlanUndo(ctx)
	if err != nil {
		return err
	}
	code := p.steps(todo)
	p.kept(stays)
	for i, s := range todo.Steps {
		if i == 0 {
			p.printf("\n")
		}
		p.printf("%s", s.Diff())
	}
	return errors.Join(code, p.err)
}
