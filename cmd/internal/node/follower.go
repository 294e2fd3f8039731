package node

import (
	"context"
	"errors"
	"path"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A follower is called while a disk makes the changes of a stage. With the zero
// follower each fault ends the stage.
type follower struct {
	// stop returns an error if the stage must end before its next change.
	stop func() error
	// done is called with each path that is in place, or gone.
	done func(path string)
	// refuse is called with a path that cannot be changed, and reports whether the
	// rest goes on without it.
	refuse func(path string, err error) bool
}

func (f follower) stopped() error {
	if f.stop == nil {
		return nil
	}
	return f.stop()
}

func (f follower) did(path string) {
	if f.done != nil {
		f.done(path)
	}
}

func (f follower) refuses(path string, err error) bool {
	return f.refuse != nil && isOwnFault(err) && f.refuse(path, err)
}

// isOwnFault reports whether an error is about this one path: a mount point,
// another file system, an immutable file, a directory that is not empty. A full
// or read-only disk stops all of them.
func isOwnFault(err error) bool {
	return slices.ContainsFunc([]error{
		unix.EBUSY, unix.EXDEV, unix.EPERM, unix.ENOTEMPTY, unix.ENOTDIR, unix.EISDIR, unix.ELOOP,
	}, func(one error) bool { return errors.Is(err, one) })
}

// followStage makes the disk report what becomes of the changes of one stage. A
// source with a path that cannot be changed is left as it is, and so are its
// later stages: its route still goes with its present hosts.toml.
func (n *Node) followStage(ctx context.Context, stage plan.Stage, changes []plan.Change, todo *plan.Plan) {
	n.disk.follow = follower{}
	if stage == plan.StageKubelet {
		return // carryOut remembers the outcome, so the stage succeeds or fails as a whole
	}
	byPath := make(map[string]plan.Change, len(changes))
	for _, c := range changes {
		place := c.Path
		if c.Dir {
			place = path.Dir(place)
		}
		byPath[n.path(place)] = c
	}
	n.disk.follow = follower{
		stop: func() error { return interrupted(ctx) },
		done: func(place string) {
			if c, ok := byPath[place]; ok {
				n.made(c)
			}
		},
		refuse: func(place string, err error) bool {
			c, ok := byPath[place]
			if ok {
				todo.Refused[plan.ChangedNamespace(c)] = true
				todo.Conflicts = append(todo.Conflicts, plan.NewConflict(c.Path, reasonOf(n.path(c.Path), err)))
			}
			return ok
		},
	}
}

// reasonOf returns a fault of a path without what the reader knows by then: the path,
// and what such a fault is called.
func reasonOf(name string, err error) fault.Fault {
	f := *fault.Of(err)
	if f.Where != name && f.Where != path.Dir(name) {
		f.What = f.Error()
	} else {
		f.What = f.Found
	}
	f.Where, f.Found, f.Cause = "", "", nil
	return f
}

// obstacle returns why nothing can be changed in a namespace, "" if nothing
// shows that beforehand.
func (n *Node) obstacle(hostsDir, name string) string {
	dir := n.path(hostsDir, name)
	if isMountPoint(n.tree, dir) {
		return "it is a mount point, so no file of it can be replaced or removed whole; unmount it: umount " + dir
	}
	file := dir + "/" + hosts.FileName
	switch {
	case isMountPoint(n.tree, file):
		return hosts.FileName + " in it is a mount point and cannot be replaced; unmount it: umount " + file
	case isImmutable(n.tree, dir):
		return "it is immutable; make it changeable: chattr -i -a " + dir
	case isImmutable(n.tree, file):
		return hosts.FileName + " in it is immutable; make it changeable: chattr -i -a " + file
	}
	return ""
}

// kubeletObstacle is [Node.obstacle] for the kubelet's configuration.
func (n *Node) kubeletObstacle(config string) string {
	file, err := n.follow(config)
	switch {
	case err != nil:
		return ""
	case isMountPoint(n.tree, file):
		return "it is a mount point and cannot be replaced; unmount it: umount " + file
	case isImmutable(n.tree, file):
		return "it is immutable; make it changeable: chattr -i -a " + file
	}
	return ""
}

// isMountPoint reports whether another file system, or a part of this one, is
// mounted at a path. Old kernels do not report it.
func isMountPoint(tree *input.Root, path string) bool {
	return hasAttribute(tree, path, unix.STATX_ATTR_MOUNT_ROOT)
}

// isImmutable reports whether not even root can change or remove a file, except
// maybe to append. A file system that does not report it has no such files.
func isImmutable(tree *input.Root, path string) bool {
	return hasAttribute(tree, path, unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND)
}

func hasAttribute(tree *input.Root, path string, attribute uint64) bool {
	fd, err := tree.OpenFD(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && st.Attributes&attribute != 0
}
