package node

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// checkProgram returns an error if the plugin is missing: the kubelet would not
// start with a configuration that names it.
func (n *Node) checkProgram(program string) error {
	if _, isComing := n.Overlay[program]; isComing {
		return nil
	}
	name, plugin := n.path(program), path.Base(program)
	info, err := n.tree.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s does not exist, and the kubelet would not start without it; install it: install -D -m 0755 %s %s", name, plugin, name)
	case err != nil:
		return describe(err)
	case info.IsDir():
		return fmt.Errorf("%s is a directory; remove it and install the plugin: install -D -m 0755 %s %s", name, plugin, name)
	case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable, and the kubelet would not start with it; run: chmod 0755 %s", name, name)
	}
	return nil
}
