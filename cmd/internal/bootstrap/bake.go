package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// Plugin is the file name of the kubelet's plugin.
const Plugin = "mirror-credential-provider"

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
	p.Plan, err = b.Finish(p.Plan)
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

// refuse adds a refusal, if there is one.
func (p *Plan) refuse(r *Refusal) {
	if r != nil {
		p.Refusals = append(p.Refusals, *r)
	}
}

// edit adds the step of an edited configuration file.
func (b *Baking) edit(p *Plan, e configEdit) error {
	name, err := b.Resolve(e.path)
	if err != nil {
		return err
	}
	old, err := b.Look(name)
	if err != nil {
		return err
	}
	p.Steps = append(p.Steps, Step{Text: e.text, Path: name, Old: old, New: old.With(e.data, 0o644), Part: e.part})
	return nil
}

// install adds the step of a file of mirrorcred's, unless it is there already.
func (b *Baking) install(p *Plan, text, name string, data []byte, mode fs.FileMode) error {
	name, err := b.Resolve(name)
	if err != nil {
		return err
	}
	old, err := b.Look(name)
	if err != nil {
		return err
	}
	next := &File{Data: data, Mode: mode}
	if old != nil {
		next.UID, next.GID = old.UID, old.GID
	}
	if !old.Equal(next) {
		p.Steps = append(p.Steps, Step{Text: text, Path: name, Old: old, New: next})
	}
	return nil
}

func (b *Baking) mkdir(p *Plan, text, name string) error {
	info, err := b.disk.tree.Stat(b.disk.at(name))
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s: a file is there instead of a directory; move it away", b.disk.at(name))
	case !errors.Is(err, fs.ErrNotExist):
		return describe(err)
	}
	p.Steps = append(p.Steps, Step{Text: text, Path: name, New: &File{Dir: true, Mode: 0o755}})
	return nil
}

// besideProgram returns where the plugin is on this machine: beside the manager.
func (b *Baking) besideProgram() string { return filepath.Join(filepath.Dir(b.Program), Plugin) }

// planPrograms plans the installation of both programs. A package's manager stays where
// it is, and its plugin is copied for the kubelet.
func (b *Baking) planPrograms(p *Plan, m *mirror.Map, found packaged) error {
	if b.Program == "" {
		return nil
	}
	if found.program == "" {
		if err := b.installProgram(p, "the manager", b.Program, systemd.Program); err != nil {
			return err
		}
	}
	plugin := path.Join(m.Kubelet.BinDir, Plugin)
	if found.program != "" && b.isProgram(packagedPlugin) {
		data, err := b.disk.tree.ReadFile(b.disk.at(packagedPlugin), maxFile)
		if err != nil {
			return describe(err)
		}
		return b.install(p, "the kubelet's plugin", plugin, data, 0o755)
	}
	err := b.installProgram(p, "the kubelet's plugin", b.besideProgram(), plugin)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if info, err := b.disk.tree.Stat(b.disk.at(plugin)); err == nil && info.Mode().IsRegular() {
		return nil // it is installed already
	}
	return fmt.Errorf("%s: it is not there; put the plugin beside the mirrorcred that you run", b.besideProgram())
}

// installProgram adds the step that copies a program from this machine.
func (b *Baking) installProgram(p *Plan, text, from, to string) error {
	data, err := input.ReadFile(from, maxFile)
	if err == nil {
		err = asTrusted(from, b.Program)
	}
	if err != nil {
		return describe(err)
	}
	return b.install(p, text, to, data, 0o755)
}

// planUnits plans the units, and a drop-in for the directories that the map names.
func (b *Baking) planUnits(p *Plan, m *mirror.Map, found packaged) error {
	units, err := systemd.Units("")
	if err != nil {
		return err
	}
	before := len(p.Steps)
	for _, u := range units {
		if err := b.planUnit(p, u, found); err != nil {
			return err
		}
	}
	if text := writePaths(m); text != "" {
		if err := b.install(p, "the service may write there", "/etc/systemd/system/mirrorcred.service.d/bootstrap.conf", []byte(text), 0o644); err != nil {
			return err
		}
	}
	if len(p.Steps) > before {
		p.Steps = append(p.Steps, daemonReload)
	}
	const tmpfiles = "/etc/tmpfiles.d/mirrorcred.conf"
	if slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Path == tmpfiles && s.New != nil }) {
		p.Steps = append(p.Steps, Step{Text: "the directories in /run", Command: []string{"systemd-tmpfiles", "--create", tmpfiles}})
	}
	return nil
}

// writePaths returns a drop-in that lets the service write to the map's directories, ""
// if it can already.
func writePaths(m *mirror.Map) string {
	var list []string
	config := m.Kubelet.Config
	if path.Ext(config) != "" {
		config = path.Dir(config) // else it is a directory of files
	}
	for _, dir := range []string{path.Dir(m.Containerd.HostsDir), config, m.Kubelet.BinDir} {
		isIn := func(of string) bool { return dir == of || strings.HasPrefix(dir, of+"/") }
		if isIn("/etc/containerd") || isIn("/var/lib/kubelet") || dir == "/usr/local/bin" || slices.Contains(list, "-"+dir) {
			continue
		}
		list = append(list, "-"+dir)
	}
	if list == nil {
		return ""
	}
	return "# Installed by \"mirrorcred bootstrap bake\".\n[Service]\nReadWritePaths=" + strings.Join(list, " ") + "\n"
}

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
		old, err := b.Look(c.Path)
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
