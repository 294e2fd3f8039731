package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
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

// allowedFile says what a map from the cluster may name.
const allowedFile = "/etc/mirrorcred/allowed.toml"

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
	if err := j.install(&p, "what a map from the cluster may name", allowedFile, data, 0o644); err != nil {
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
	p.Flags, err = j.Finish(p.Flags)
	return p, err
}

// refused turns a fault of the kubelet's flags into a refusal.
func refused(p *Plan, err error) error {
	var f *kubeletflags.Fault
	if !errors.As(err, &f) {
		return err
	}
	p.Refusals = append(p.Refusals, Refusal{File: f.File, Line: f.Line, Text: f.Text, Repair: f.Repair})
	return nil
}

// planFlags plans the kubelet's two flags.
func (j *Joining) planFlags(p *JoinPlan, m *mirror.Map) error {
	wanted := p.kubelet.Plan(kubeletflags.Options{
		Want:  kubeletflags.Paths{Config: m.Kubelet.Config, BinDir: m.Kubelet.BinDir},
		Named: m.Kubelet.Named, Adopt: j.Adopt, Version: j.kubeletVersion(p.kubelet, m), AzureConfig: azureConfig(m),
	})
	for _, f := range wanted.Faults {
		if err := refused(&p.Plan, f); err != nil {
			return err
		}
	}
	p.Notes, p.Waiting = append(p.Notes, wanted.Notes...), append(p.Waiting, wanted.Waiting...)
	reload := false
	for _, c := range wanted.Changes {
		s, err := j.flagStep(c, wanted.Paths)
		if err != nil {
			return err
		}
		p.Flags.Steps = append(p.Flags.Steps, s)
		reload = reload || strings.HasPrefix(c.Path, "/etc/systemd/")
	}
	if err := j.planAzure(p, wanted); err != nil {
		return err
	}
	if reload {
		p.Flags.Steps = append(p.Flags.Steps, daemonReload)
	}
	return nil
}

var daemonReload = Step{Text: "systemd reads the units", Command: []string{"systemctl", "daemon-reload"}}

// flagStep returns the step of a file that gives the kubelet its flags.
func (j *Joining) flagStep(c kubeletflags.Change, paths kubeletflags.Paths) (Step, error) {
	name, err := j.Resolve(c.Path)
	if err != nil {
		return Step{}, err
	}
	old, err := j.Look(name)
	if err != nil {
		return Step{}, err
	}
	if (old == nil) != (c.Old == nil) || old != nil && string(old.Data) != string(c.Old) {
		return Step{}, &ChangedError{Path: j.disk.at(name)}
	}
	s := Step{Text: fmt.Sprintf("the kubelet's --%s=%s and --%s=%s", kubeletflags.ConfigFlag, paths.Config, kubeletflags.BinDirFlag, paths.BinDir), Path: name, Old: old, New: old.With(c.New, 0o644)}
	if path.Ext(name) == ".yaml" {
		s.Text = "the kubelet's flags"
	}
	if c.Added {
		s.Part = partFlags
	}
	return s, nil
}

// partFlags takes the kubelet's two flags out of a file.
const partFlags Part = "kubelet flags"

func init() { parts[partFlags] = kubeletflags.Remove }

// azureConfig returns the azure.json of a map, "" if it has no credential of Azure.
func azureConfig(m *mirror.Map) string {
	for _, c := range m.Credentials {
		if c.Kind == mirror.Azure {
			return c.File
		}
	}
	return ""
}

// planAzure plans a link from the map's azure.json to the file that the kubelet's old
// flag names.
func (j *Joining) planAzure(p *JoinPlan, wanted kubeletflags.Plan) error {
	if wanted.Link == "" {
		return nil
	}
	old, err := j.Look(wanted.Link)
	switch {
	case err != nil:
		return err
	case old == nil:
		p.Plan.Steps = append(p.Plan.Steps, Step{Text: "the map's azure.json is the kubelet's", Path: wanted.Link, New: &File{Link: wanted.LinkTo}})
	case old.Link != wanted.LinkTo:
		p.Refusals = append(p.Refusals, Refusal{
			File: wanted.Link, Text: fmt.Sprintf("the map reads this file, and the kubelet's --%s names %s", kubeletflags.InTreeFlag, wanted.LinkTo),
			Repair: fmt.Sprintf("write config = %q under [credential.azure] in the map, or remove one of the files", wanted.LinkTo),
		})
	}
	return nil
}

// kubeletVersion returns the kubelet's version in the map, else that of the installed
// program, "" if neither is known.
func (j *Joining) kubeletVersion(k *kubeletflags.Kubelet, m *mirror.Map) string {
	if m.Kubelet.Version != "" || k.Program == "" {
		return m.Kubelet.Version
	}
	f, _, err := j.disk.tree.Open(j.disk.at(k.Program))
	if err != nil {
		return ""
	}
	defer f.Close()
	return kubelet.BuiltVersion(f)
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

// planProvider plans a configuration with a provider that matches no image, if the flags
// would name a missing file that apply does not write either: if the map has no sources,
// or while containerd's half is missing. The kubelet does not start with flags that name
// missing files.
func (j *Joining) planProvider(p *JoinPlan, m *mirror.Map) error {
	isConfig := func(c plan.Change) bool { return c.Stage == plan.StageKubelet }
	if !p.hasFlags() || slices.ContainsFunc(p.Mirrors.Changes, isConfig) {
		return nil
	}
	name, err := j.Resolve(m.Kubelet.Config)
	if err != nil {
		return err
	}
	if old, err := j.Look(name); err != nil || old != nil {
		return err
	}
	data, err := kubeletconfig.Config(nil, kubeletconfig.Ours{Providers: []kubeletconfig.Provider{{
		Name: Plugin, MatchImages: []string{plan.NoImage}, Args: []string{"--registry-mirror=@" + plan.RoutesDir},
	}}})
	if err != nil {
		return err
	}
	p.Flags.Steps = slices.Insert(p.Flags.Steps, 0, Step{Text: "the kubelet does not start without a provider", Path: name, New: &File{Data: data, Mode: 0o644}, Part: partProviders})
	return nil
}

// dropFlagWarnings removes the warnings about missing flags, which join is about to add.
func (p *JoinPlan) dropFlagWarnings(mirrors *plan.Plan) {
	if p.hasFlags() {
		mirrors.Warnings = slices.DeleteFunc(mirrors.Warnings, func(f doctor.Finding) bool {
			return slices.Contains(ofFlags, f.Name)
		})
	}
}

// ofFlags are the warnings about the flags that the kubelet is started with.
var ofFlags = []string{doctor.FlagsMissing, doctor.OneFlagOnly, doctor.InTreeACRFlag, doctor.FlagsDifferFromFiles}

// hasFlags reports whether a step changes the flags that the kubelet starts with next.
func (p *JoinPlan) hasFlags() bool {
	isFlag := func(s Step) bool { return s.Path != "" && s.Path != wants+systemd.WatchUnit }
	return p.kubelet.Layout != "EKS" && slices.ContainsFunc(p.Flags.Steps, isFlag)
}

// wants is the link with which systemd starts the watcher at boot.
const wants = "/etc/systemd/system/multi-user.target.wants/"

// planService enables the watcher, unless the operator has enabled one run at boot
// in its place, or masked it.
func (j *Joining) planService(p *JoinPlan, found packaged) error {
	unit := "/etc/systemd/system/" + systemd.WatchUnit
	for _, name := range []string{wants + systemd.ApplyUnit, wants + systemd.WatchUnit} {
		if f, err := j.Look(name); err != nil || f != nil {
			return err
		}
	}
	f, err := j.Look(unit)
	if err != nil || f != nil && f.Link != "" {
		return err
	}
	if inPackage := found.units[systemd.WatchUnit]; inPackage != "" && (f == nil || !systemd.Edited(f.Data)) {
		unit = inPackage
	}
	p.Flags.Steps = append(p.Flags.Steps,
		Step{Text: "the watcher starts at boot", Path: wants + systemd.WatchUnit, New: &File{Link: unit}})
	if !slices.ContainsFunc(p.Steps(), func(s Step) bool { return slices.Equal(s.Command, daemonReload.Command) }) {
		p.Flags.Steps = append(p.Flags.Steps, daemonReload)
	}
	// Without waiting: the watcher is ready after its first pass, which waits for
	// the end of this run.
	p.Flags.Steps = append(p.Flags.Steps, Step{Text: "the watcher", Command: []string{"systemctl", "start", "--no-block", systemd.WatchUnit}})
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

// apply applies the map. It is no error if containerd does not read the files yet, since
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
