package bootstrap

import (
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
			f, err := n.Observe(name)
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
