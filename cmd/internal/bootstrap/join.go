package bootstrap

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Joining is the setup of the kubelet's half.
type Joining struct {
	*Baking
	// Running returns the unit that runs the kubelet, "" if none is known, and whether
	// a kubelet runs; nil means that the machine is asked.
	Running func() (unit string, runs bool, err error)
}

// A JoinPlan is what join does, in three parts. The plugin and the configuration come
// before the flags, because a kubelet does not start with flags that name missing files.
type JoinPlan struct {
	// Plan is the first part, with the refusals and notes of all.
	Plan
	// Mirrors is what apply does next. If that is not known, Later says why.
	Mirrors plan.Plan
	Later   string
	// Flags are the last part: the flags, and what must be restarted for them.
	Flags Plan

	kubelet *kubeletflags.Kubelet
}

// PlanAllowed plans to put the file from, on this machine, in the place of the node's
// list of what a map from the cluster may name. It plans nothing if from is "" or
// missing.
func (j *Joining) PlanAllowed(from string) (Plan, error) {
	var p Plan
	if from == "" {
		return p, nil
	}
	data, err := input.ReadFile(from, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = asTrusted(from, from)
	}
	if err != nil {
		return p, describe(err)
	}
	if err := j.install(&p, "what a map from the cluster may name", node.AllowedFile, data, 0o644); err != nil {
		return p, err
	}
	p.Steps, err = j.withDirs(p.Steps)
	return p, err
}

// Steps returns the steps of both parts.
func (p JoinPlan) Steps() []Step { return slices.Concat(p.Plan.Steps, p.Flags.Steps) }

// PlanJoin reads the node and plans. It changes nothing.
func (j *Joining) PlanJoin(ctx context.Context) (JoinPlan, error) {
	var p JoinPlan
	m, err := j.Mirrors.ReadMap()
	if err != nil {
		return p, err
	}
	if p.kubelet, err = kubeletflags.Find(j.Mirrors.Files()); err != nil {
		return p, refused(&p.Plan, err)
	}
	if err := j.planFlags(&p, m); err != nil || len(p.Refusals) > 0 {
		return p, err
	}
	found, err := j.ofPackage()
	if err != nil {
		return p, err
	}
	if err := j.planPrograms(&p.Plan, m, found); err != nil {
		return p, err
	}
	if err := j.planUnits(&p.Plan, m, found); err != nil {
		return p, err
	}
	for _, dir := range []string{m.Containerd.HostsDir, path.Dir(m.Kubelet.Config)} {
		if err := j.mkdir(&p.Plan, "", dir); err != nil {
			return p, err
		}
	}
	if err := j.planMirrorsOf(ctx, &p); err != nil || len(p.Refusals) > 0 {
		return p, err
	}
	if err := j.planProvider(&p, m); err != nil {
		return p, err
	}
	if p.Plan.Steps, err = j.withDirs(p.Plan.Steps); err != nil {
		return p, err
	}
	if err := j.planService(&p, found); err != nil {
		return p, err
	}
	if err := j.planRestart(&p, p.Mirrors); err != nil {
		return p, err
	}
	p.Flags, err = j.finish(p.Flags)
	return p, err
}

// planProvider plans a configuration with a provider that matches no image, if the flags
// would name a missing file that apply does not write either: if the map has no sources,
// or while containerd's half is missing. The kubelet does not start with flags that name
// missing files.
func (j *Joining) planProvider(p *JoinPlan, m *mirror.Map) error {
	isConfig := func(c plan.Change) bool { return c.Stage == plan.StageKubelet }
	if !p.hasFlags() || slices.ContainsFunc(p.Mirrors.Changes, isConfig) {
		return nil
	}
	name, err := j.resolve(m.Kubelet.Config)
	if err != nil {
		return err
	}
	if old, err := j.Observe(name); err != nil || old != nil {
		return err
	}
	data, err := kubeletconfig.Config(nil, kubeletconfig.Desired{Providers: []kubeletconfig.Provider{{
		Name: Plugin, MatchImages: []string{plan.NoImage}, Args: []string{"--registry-mirror=@" + plan.RoutesDir},
	}}})
	if err != nil {
		return err
	}
	p.Flags.Steps = slices.Insert(p.Flags.Steps, 0, Step{Text: "the kubelet does not start without a provider", Path: name, New: &File{Data: data, Mode: 0o644}, Part: partProviders})
	return nil
}

// planRestart plans the restart of a running kubelet, if it must read something new.
func (j *Joining) planRestart(p *JoinPlan, mirrors plan.Plan) error {
	isConfig := func(c plan.Change) bool { return c.Stage == plan.StageKubelet }
	if p.hasFlags() || mirrors.NeedsRestart || slices.ContainsFunc(mirrors.Changes, isConfig) {
		step, err := j.restart(p.kubelet.Unit)
		if step != nil {
			at := len(p.Flags.Steps)
			if at > 0 && p.Flags.Steps[at-1].Text == "the watcher" {
				at--
			}
			p.Flags.Steps = slices.Insert(p.Flags.Steps, at, *step)
		}
		return err
	}
	return nil
}

// restart returns the step that restarts the kubelet, nil if none runs here.
func (j *Joining) restart(unit string) (*Step, error) {
	running := j.Running
	switch {
	case running == nil && j.Root != "":
		return nil, nil
	case running == nil:
		running = j.Mirrors.KubeletUnit
	}
	name, runs, err := running()
	if err != nil || !runs {
		return nil, err
	}
	if name == "" {
		name = unit
	}
	return &Step{Text: "the kubelet reads its flags and its configuration when it starts", Command: []string{"systemctl", "restart", name}}, nil
}

// Join carries a plan out: the programs, then the map, then the flags, and the map again
// for what waited for the kubelet. The returned plan is what the last run of apply did
// and left undone.
func (j *Joining) Join(ctx context.Context, p JoinPlan) (left [][]string, applied plan.Plan, err error) {
	if left, err = j.CarryOut(ctx, Join, p.Plan); err != nil {
		return left, applied, err
	}
	isArmed := true
	if applied, isArmed, err = j.apply(ctx); err != nil {
		return left, applied, err
	}
	p.dropFlagWarnings(&applied)
	more, err := j.CarryOut(ctx, Flags, p.Flags)
	left = append(left, more...)
	restarted := slices.ContainsFunc(p.Flags.Steps, func(s Step) bool { return len(s.Command) > 1 && s.Command[1] == "restart" })
	if err != nil || !isArmed || !restarted || j.offline {
		return left, applied, err
	}
	applied, _, err = j.apply(ctx)
	return left, applied, err
}
