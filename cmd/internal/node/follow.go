package node

import (
	"fmt"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// follow returns the file that a path on this machine leads to, so that an
// operator's link stays a link and its target is replaced. The target may be
// missing, but its directory must exist. Below another root, an absolute link
// leads to a path of that root.
func (n *Node) follow(path string) (string, error) {
	at := path
	for range maxLinks {
		to, err := n.tree.Readlink(at)
		if err != nil { // not a link, or missing
			return at, nil
		}
		switch {
		case filepath.IsAbs(to) && n.elsewhere:
			at = n.path(to)
		case filepath.IsAbs(to):
			at = to
		default:
			at = filepath.Join(filepath.Dir(at), to)
		}
		if info, err := n.tree.Stat(filepath.Dir(at)); err != nil || !info.IsDir() {
			return "", &fault.Fault{
				What: "a symbolic link leads nowhere", Where: path, Found: fmt.Sprintf("it leads to %s, whose directory does not exist", to),
				Fix: "create that, or remove the link", Until: plan.NotApplied,
			}
		}
	}
	return "", describe(&fs.PathError{Op: "readlink", Path: path, Err: unix.ELOOP})
}
