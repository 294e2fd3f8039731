package containerd

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/durable"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// changedAfter returns the first of the paths that may have changed after the
// given time, with what changed there; "" if none has. A pattern stands for the
// directories that it searches.
//
// A change of content, mode or place sets the change time of a file, which no
// program can set back. A removed file leaves its trace in its directory.
func (o Observer) changedAfter(paths []string, limit time.Time) (string, error) {
	for _, name := range paths {
		// Only the last elements of a path have wildcards.
		expanded, whole := []string{name}, map[string]bool{}
		if strings.Contains(name, "*") {
			var err error
			if expanded, err = o.ranged(name); err != nil {
				return "", err
			}
			for _, dir := range expanded {
				whole[dir] = true
			}
		}
		for _, one := range expanded {
			changed, err := o.walk(one, whole[one], limit)
			if changed != "" || err != nil {
				return changed, err
			}
		}
	}
	return "", nil
}

// ranged returns the directories that a pattern searches.
func (o Observer) ranged(pattern string) ([]string, error) {
	dirs := []string{"/"}
	var looked []string
	parts := strings.Split(strings.Trim(path.Clean(pattern), "/"), "/")
	for i, part := range parts {
		if strings.Contains(part, "*") {
			looked = append(looked, dirs...)
		}
		if i == len(parts)-1 {
			break
		}
		var next []string
		for _, dir := range dirs {
			if !strings.ContainsAny(part, `*?[\`) {
				next = append(next, path.Join(dir, part))
				continue
			}
			found, err := o.tree().Glob(o.path(dir, part))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", pattern, err)
			}
			for _, name := range found {
				next = append(next, path.Join(dir, filepath.Base(name)))
			}
		}
		dirs = next
	}
	return looked, nil
}

// walk follows a path as the kernel does, and checks each link in it, each
// directory, and its target. whole says that it leads to a directory in which
// every entry counts.
func (o Observer) walk(name string, whole bool, limit time.Time) (string, error) {
	found := ""
	missing, err := armed.Walk(o.tree().Root, name, func(at string, st *syscall.Stat_t, last bool) error {
		// A change of its entries sets both times of a directory; only a move or a
		// change of owner sets one alone.
		entries := st.Mode&syscall.S_IFMT == syscall.S_IFDIR && st.Ctim == st.Mtim
		if found == "" && time.Unix(st.Ctim.Unix()).After(limit) && (!entries || whole && last) {
			found = at
		}
		return nil
	})
	if found == "" && missing != "" && missing != "/" {
		// It has been missing at most since the last change of its directory.
		return o.walk(path.Dir(missing), true, limit)
	}
	return found, err
}

// mounted returns the first of the paths, or of their directories, that is a
// mount point for a process, "" if there is none. The time of a mount is recorded
// nowhere, and mounted files have their own times. Directories at the top, such as
// /etc, are mounted when the machine starts.
func (o Observer) mounted(pid int, paths []string) string {
	points, known := o.sys.mountPoints(pid)
	for _, name := range paths {
		dir := path.Dir(name)
		for strings.Contains(dir, "*") {
			dir = path.Dir(dir)
		}
		for _, one := range []string{dir, name} {
			if path.Dir(one) == "/" || strings.Contains(one, "*") {
				continue
			}
			isMount, at := mountPoint(o.tree(), o.path(one))
			if known && at != "" {
				isMount = points[at]
			}
			if isMount {
				return one
			}
		}
	}
	return ""
}

// mountPoint reports whether something is mounted at a path as this process sees it,
// and where the path leads; "" if nothing is there. Kernels before 5.8 do not report
// the first.
func mountPoint(tree durable.Tree, path string) (isMount bool, at string) {
	fd, err := tree.OpenFD(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, ""
	}
	defer unix.Close(fd)
	if at, err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
		at = ""
	}
	var st unix.Statx_t
	err = unix.Statx(fd, "", unix.AT_EMPTY_PATH|unix.AT_NO_AUTOMOUNT, 0, &st)
	return err == nil && st.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, at
}

// mountPoints returns where something is mounted as a process sees it, and whether
// that is known. The service of mirrorcred sees more: its sandbox mounts each
// directory that it may write to, such as /etc/containerd, over itself.
func (s *system) mountPoints(pid int) (points map[string]bool, known bool) {
	data, err := input.ReadFile(fmt.Sprintf("%s/%d/mountinfo", s.proc, pid), 0)
	if err != nil {
		return nil, false
	}
	points = map[string]bool{}
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 4 { // proc_pid_mountinfo(5)
			points[unescape.Replace(fields[4])] = true
		}
	}
	return points, len(points) > 0
}
