package bootstrap

import (
	"bytes"
	"errors"
	"io/fs"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// planContainerd plans containerd's configuration, and its restart if it runs.
func (b *Baking) planContainerd(p *Plan, wanted mirror.Containerd, start containerd.Start) error {
	s := configSeen{
		files: start.Files, main: start.Config, named: start.Named, versions: start.Versions, dir: wanted.HostsDir, adopt: b.Adopt,
	}
	if g := generatorOf(s.main); g != nil {
		p.refuse(s.generated(g, wanted))
		return nil
	}
	if r := elsewhere(s.files, s.main); r != nil {
		p.refuse(r)
		return nil
	}
	if hasNodeadm(s.files) {
		return b.planNodeadm(p, s)
	}
	edits, refusal := s.plan()
	p.refuse(refusal)
	for _, e := range edits {
		if err := b.edit(p, e); err != nil {
			return err
		}
		if note := rewrittenBy(s.files, e.path); note != "" {
			p.Notes = append(p.Notes, note)
		}
	}
	if len(edits) > 0 && start.Runs {
		p.Steps = append(p.Steps, restartOf(start))
	}
	return nil
}

// planNodeadm plans a file that makes nodeadm set config_path. nodeadm rewrites
// containerd's configuration at each boot.
func (b *Baking) planNodeadm(p *Plan, s configSeen) error {
	v := s.judge(s.files)
	if v.noCRI != nil {
		p.refuse(refusalOf(v.noCRI))
		return nil
	}
	isSet := len(v.versions) > 0 && !v.isMissing && v.reason == nil
	if data, err := s.files.ReadFile(nodeadmFile); isSet && errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(data, s.nodeadmConfig()) {
		if !isSet {
			p.Waiting = append(p.Waiting, waitsForNodeadm)
		}
		return nil
	}
	p.Waiting = append(p.Waiting, waitsForNodeadm)
	return b.install(p, "nodeadm writes containerd's configuration with it at each boot", nodeadmFile, s.nodeadmConfig(), 0o644)
}

const waitsForNodeadm = "the mirrors wait for the next boot, when nodeadm sets config_path by " + nodeadmFile + "; then mirrorcred.service, or another run of this, writes them"

// edit adds the step of an edited configuration file.
func (b *Baking) edit(p *Plan, e configEdit) error {
	name, err := b.resolve(e.path)
	if err != nil {
		return err
	}
	old, err := b.Observe(name)
	if err != nil {
		return err
	}
	p.Steps = append(p.Steps, Step{Text: e.text, Path: name, Old: old, New: old.with(e.data, 0o644), Part: e.part})
	return nil
}
