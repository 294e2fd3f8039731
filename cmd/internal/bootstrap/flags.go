package bootstrap

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

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

// flagStep returns the step of a file that gives the kubelet its flags.
func (j *Joining) flagStep(c kubeletflags.Change, paths kubeletflags.Paths) (Step, error) {
	name, err := j.resolve(c.Path)
	if err != nil {
		return Step{}, err
	}
	old, err := j.Observe(name)
	if err != nil {
		return Step{}, err
	}
	if (old == nil) != (c.Old == nil) || old != nil && string(old.Data) != string(c.Old) {
		return Step{}, &ChangedError{Path: j.disk.at(name)}
	}
	s := Step{Text: fmt.Sprintf("the kubelet's --%s=%s and --%s=%s", kubeletflags.ConfigFlag, paths.Config, kubeletflags.BinDirFlag, paths.BinDir), Path: name, Old: old, New: old.with(c.New, 0o644)}
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
	old, err := j.Observe(wanted.Link)
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
