package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// An owner is the user and the group that a file belongs to.
type owner struct{ uid, gid int }

// ownerOf returns whose the file at a path is, nil if there is none.
func (n *Node) ownerOf(path string) (*owner, error) {
	info, err := n.tree.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describe(err)
	}
	return ownerIn(info), nil
}

func ownerIn(info fs.FileInfo) *owner {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return &owner{int(st.Uid), int(st.Gid)}
}

// give gives a new file, which is open under a temporary name, to its owner. It is
// still closed to others, and changes nothing if the owner is the right one already:
// that takes no capability.
func (d *disk) give(f *os.File, name string, content file) error {
	want := content.owner
	info, err := f.Stat()
	if err != nil {
		return describe(err)
	}
	if has := ownerIn(info); want == nil || has == nil || *want == *has {
		return nil
	}
	if err := d.before("chown", name); err != nil {
		return err
	}
	if err := f.Chown(want.uid, want.gid); errors.Is(err, fs.ErrPermission) {
		return &fault.Fault{
			What: "a file of another user cannot be replaced", Where: content.path, Until: plan.NotApplied,
			Found: fmt.Sprintf("it belongs to user %d and group %d, and this process may not create such a file", want.uid, want.gid),
			Fix:   fmt.Sprintf("give this process CAP_CHOWN, or run: chown %d:%d %s", os.Geteuid(), os.Getegid(), content.path),
		}
	} else if err != nil {
		return describe(err)
	}
	return nil
}
