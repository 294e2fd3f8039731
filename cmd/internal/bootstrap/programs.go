package bootstrap

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"

	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// Plugin is the file name of the kubelet's plugin.
const Plugin = "mirror-credential-provider"

// install adds the step of a file of mirrorcred's, unless it is there already.
func (b *Baking) install(p *Plan, text, name string, data []byte, mode fs.FileMode) error {
	name, err := b.resolve(name)
	if err != nil {
		return err
	}
	old, err := b.Observe(name)
	if err != nil {
		return err
	}
	next := &File{Data: data, Mode: mode}
	if old != nil {
		next.UID, next.GID = old.UID, old.GID
	}
	if !old.equal(next) {
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
	return fmt.Errorf("%s does not exist; put the plugin beside the mirrorcred that you run", b.besideProgram())
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
