package bootstrap

import (
	"fmt"
	"path"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// packagedPlugin is where a deb or an rpm of mirrorcred has the plugin.
const packagedPlugin = "/usr/libexec/mirrorcred/" + Plugin

// A packaged is what a package of mirrorcred has installed on the node and bake leaves
// to it: files of bake's in /etc and /usr/local would hide those of the next version.
type packaged struct {
	// units are the paths of the package's units that bake would install too, by
	// name, if they have the same effect.
	units map[string]string
	// program is the mirrorcred that they start, "" without such units.
	program string
}

// ofPackage finds out what a package has installed.
func (n *Node) ofPackage() (packaged, error) {
	found := packaged{units: map[string]string{}}
	units, err := systemd.Units("")
	if err != nil {
		return found, err
	}
	for _, u := range units {
		for _, name := range u.InPackage() {
			f, err := n.Look(name)
			if err != nil {
				return packaged{}, err
			}
			if f == nil || !f.isRegular() {
				continue
			}
			program, same := u.SameEffect(f.Data)
			if same && (program == "" || n.isProgram(program)) {
				found.units[u.Name] = name
				if program != "" {
					found.program = program
				}
			}
			break
		}
	}
	if found.program == "" {
		return packaged{}, nil
	}
	return found, nil
}

// isProgram reports whether a path of the node is an executable file.
func (n *Node) isProgram(name string) bool {
	info, err := n.disk.tree.Stat(n.disk.at(name))
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// planUnit plans one unit: none if a package has it, and then an earlier one of bake's
// is removed.
func (b *Baking) planUnit(p *Plan, u systemd.Unit, found packaged) error {
	old, err := b.Look(u.Path)
	if err != nil {
		return err
	}
	isOurs := old != nil && old.isRegular() && !systemd.Edited(old.Data)
	inPackage := found.units[u.Name]
	switch {
	case old != nil && old.Link != "":
		p.Notes = append(p.Notes, fmt.Sprintf("%s: it is a link to %s, which stays", u.Path, old.Link))
	case old != nil && !isOurs:
		p.Notes = append(p.Notes, u.Path+": it was edited, or another program wrote it, so it stays; move the changes into a drop-in, remove it and run this again")
	case inPackage == "":
		return b.install(p, "", u.Path, u.Data, 0o644)
	case isOurs:
		p.Steps = append(p.Steps, Step{Text: "the package has its own, " + inPackage, Path: u.Path, Old: old})
	}
	return nil
}

// unitPath returns the path of a unit of mirrorcred's that systemd uses: the file in
// /etc, unless only a package has it.
func (n *Node) unitPath(u systemd.Unit) (string, error) {
	for _, name := range append([]string{u.Path}, u.InPackage()...) {
		f, err := n.Look(name)
		if err != nil || f != nil {
			return name, err
		}
	}
	return "", nil
}

// installed returns the hashes of mirrorcred's programs, by their file names: those that
// run now, and those of a package. "mirrorcred plugin --refresh" puts them in the place
// of what bake has installed, and undo has to know them again.
func (b *Baking) installed() map[string][]string {
	found := map[string][]string{}
	add := func(name string, data []byte, err error) {
		if err == nil {
			found[name] = append(found[name], hosts.Hash(data))
		}
	}
	if b.Program != "" {
		for name, file := range map[string]string{path.Base(systemd.Program): b.Program, Plugin: b.besideProgram()} {
			data, err := input.ReadFile(file, maxFile)
			add(name, data, err)
		}
	}
	data, err := b.disk.tree.ReadFile(b.disk.at(packagedPlugin), maxFile)
	add(Plugin, data, err)
	return found
}
