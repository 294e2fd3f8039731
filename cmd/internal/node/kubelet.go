package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// checkProgram returns an error if the plugin is missing: the kubelet would not
// start with a configuration that names it.
func (n *Node) checkProgram(program string) error {
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
