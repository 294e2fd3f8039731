package bootstrap

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// planMirrors plans what apply does once the steps are made. A conflict with
// another program's file is refused.
func (b *Baking) planMirrors(ctx context.Context, p *BakePlan) error {
	if len(p.Waiting) > 0 {
		p.Later = "containerd does not read them yet"
		return nil
	}
	b.Mirrors.Overlay = overlayOf(p.Steps)
	defer func() { b.Mirrors.Overlay = nil }()
	var err error
	p.Mirrors, err = b.Mirrors.Plan(ctx)
	var unarmed *node.NotArmedError
	if errors.As(err, &unarmed) && slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Command != nil }) {
		p.Later = "containerd reads them once it has been restarted"
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range p.Mirrors.Conflicts {
		p.Refusals = append(p.Refusals, Refusal{File: c.Path, Text: strings.ReplaceAll(c.Reason, "mirrorcred apply --adopt", "mirrorcred bootstrap bake --adopt")})
	}
	return nil
}

// overlayOf returns the files that steps write.
func overlayOf(steps []Step) map[string][]byte {
	files := map[string][]byte{}
	for _, s := range steps {
		if s.New != nil && s.New.isRegular() {
			files[s.Path] = s.New.Data
		}
	}
	return files
}

// leaveToJoin turns the warning that the kubelet lacks its flags into a note: they are
// the work of the next phase.
func leaveToJoin(mirrors *plan.Plan) {
	isMissing := func(f doctor.Finding) bool { return f.Name == doctor.FlagsMissing }
	if !slices.ContainsFunc(mirrors.Warnings, isMissing) {
		return
	}
	mirrors.Warnings = slices.DeleteFunc(mirrors.Warnings, isMissing)
	mirrors.Notes = append(mirrors.Notes, "the kubelet does not have its two flags yet; \"mirrorcred bootstrap join\" gives it those")
}

// noteMirrors records which files of other programs apply is about to replace, so that
// undo can put them back.
func (b *Baking) noteMirrors(ctx context.Context) error {
	todo, err := b.Mirrors.Plan(ctx)
	if err != nil {
		return err
	}
	var p Plan
	for _, c := range todo.Changes {
		if c.Link || !c.Save && c.Stage != plan.StageKubelet {
			continue
		}
		old, err := b.Observe(c.Path)
		if err != nil {
			return err
		}
		s := Step{Path: c.Path, Old: old, New: &File{Data: c.New, Mode: c.Mode}, Restore: c.Save}
		if c.Stage == plan.StageKubelet {
			s.Part = partProviders
		}
		p.Steps = append(p.Steps, s)
	}
	if len(p.Steps) == 0 {
		return nil
	}
	r, err := b.record()
	if err != nil {
		return err
	}
	return b.note(&r, Bake, p)
}

// planMirrorsOf plans what apply does once both programs are there.
func (j *Joining) planMirrorsOf(ctx context.Context, p *JoinPlan) error {
	var b BakePlan
	for _, s := range p.Plan.Steps {
		if s.Path != "" { // with a pending command, every difference would be accepted
			b.Steps = append(b.Steps, s)
		}
	}
	err := j.planMirrors(ctx, &b)
	var unarmed *node.NotArmedError
	if errors.As(err, &unarmed) {
		// Containerd's half is bake's, before this or after it.
		p.Later = "containerd does not read them yet"
		p.Waiting = append(p.Waiting, "the mirrors wait for containerd: "+unarmed.Reason.Error()+"; \"mirrorcred bootstrap bake\" does that half")
		return nil
	}
	p.Mirrors, p.Later = b.Mirrors, b.Later
	p.dropFlagWarnings(&p.Mirrors)
	for _, r := range b.Refusals {
		r.Text = strings.ReplaceAll(r.Text, "bootstrap bake", "bootstrap join")
		p.Refusals = append(p.Refusals, r)
	}
	return err
}

// apply applies the map. It is not an error if containerd does not read the files yet, since
// that half is bake's.
func (j *Joining) apply(ctx context.Context) (p plan.Plan, armed bool, err error) {
	var unarmed *node.NotArmedError
	if err := j.noteMirrors(ctx); errors.As(err, &unarmed) {
		return p, false, nil
	} else if err != nil {
		return p, false, err
	}
	p, err = j.Mirrors.Apply(ctx)
	return p, true, err
}
