package bootstrap

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

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

// planUnit plans one unit: none if a package has it, and then an earlier one of bake's
// is removed.
func (b *Baking) planUnit(p *Plan, u systemd.Unit, found packaged) error {
	old, err := b.Observe(u.Path)
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

// unit returns the file of a unit of mirrorcred's that systemd uses: the one in /etc, or
// else a package's; nil if there is none.
func (n *Node) unit(u systemd.Unit) (*File, error) {
	for _, name := range append([]string{u.Path}, u.InPackage()...) {
		if f, err := n.Observe(name); err != nil || f != nil {
			return f, err
		}
	}
	return nil, nil
}

var daemonReload = Step{Text: "systemd reads the units", Command: []string{"systemctl", "daemon-reload"}}

// wants is the link with which systemd starts the watcher at boot.
const wants = "/etc/systemd/system/multi-user.target.wants/"

// planService enables the watcher, unless the operator has enabled one run at boot
// in its place, or masked it.
func (j *Joining) planService(p *JoinPlan, found packaged) error {
	unit := "/etc/systemd/system/" + systemd.WatchUnit
	for _, name := range []string{wants + systemd.ApplyUnit, wants + systemd.WatchUnit} {
		if f, err := j.Observe(name); err != nil || f != nil {
			return err
		}
	}
	f, err := j.Observe(unit)
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
