package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// checkProgram returns an error if the plugin is missing: the kubelet would not
// start with a configuration that names it.
func (n *Node) checkProgram(program string, running []plan.Process) error {
	if _, isComing := n.Overlay[program]; isComing {
		return nil
	}
	name, plugin := n.path(program), path.Base(program)
	f := &fault.Fault{What: "the plugin cannot be run, and the kubelet would not start with it", Where: name, Until: plan.NotApplied}
	install := fmt.Sprintf("run: install -D -m 0755 %s %s", plugin, name)
	info, err := n.tree.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.What, f.Found = "the plugin is missing, and the kubelet would not start without it", "no such file"
		f.Fix = install
		if dir := n.otherBinDir(path.Dir(program), running); dir != "" {
			f.Fix = fmt.Sprintf("if the kubelet finds its providers in %s, write bin_dir = %q under [kubelet] in the map; else %s", n.path(dir), dir, install)
		}
	case err != nil:
		return describe(err)
	case info.IsDir():
		f.Found, f.Fix = "it is a directory", "remove it, then "+install
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		f.Found, f.Fix = "it is not executable", "run: chmod 0755 "+name
	default:
		return nil
	}
	return f
}

// otherBinDir returns another directory than dir in which the kubelet finds its
// providers: its flags name it, and a program is there. It is "" if none is known.
func (n *Node) otherBinDir(dir string, running []plan.Process) string {
	var flags doctor.Flags
	n.readFlags(&flags)
	if k, err := kubeletflags.Find(n.Files()); err == nil {
		flags.BinDirs = append(flags.BinDirs, k.Now.BinDir)
	}
	for _, k := range running {
		flags.BinDirs = append([]string{k.BinDir}, flags.BinDirs...)
	}
	for _, other := range flags.BinDirs {
		if path.IsAbs(other) && path.Clean(other) != dir && n.hasProgram(other) {
			return path.Clean(other)
		}
	}
	return ""
}

// hasProgram reports whether a directory of the node has a file that can be executed.
func (n *Node) hasProgram(dir string) bool {
	entries, err := n.readDir(n.path(dir))
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		info, err := n.tree.Stat(n.path(dir, e.Name()))
		return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
	})
}
