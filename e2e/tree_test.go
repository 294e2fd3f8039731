package e2e

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/box"
)

// A tree is what a node's disk holds, by path.
type tree map[string]entry

type entry struct {
	is       string // mode, owner, and bytes or target
	modified time.Time
}

// roots are what a tree is read from. Of /usr, which is large and mostly the machine's
// outside, that is where installers write, and whatever else has changed since the
// box was built: those files are in its own layer.
var roots = []string{"/etc", "/opt", "/var", "/run/mirrorcred", "/usr/local", box.Units, box.UsrLayer}

// What the daemons themselves keep, and what the test writes.
var unlisted = []string{
	"/var/lib/containerd", "/var/log/containers", "/etc/kubernetes/manifests", "/usr/local/go",
	"/var/lib/kubelet/pods", "/var/lib/kubelet/plugins", "/var/lib/kubelet/plugins_registry", "/var/lib/kubelet/pod-resources",
	"/var/lib/kubelet/device-plugins", "/var/lib/kubelet/checkpoints", "/var/lib/kubelet/cpu_manager_state",
	"/var/lib/kubelet/memory_manager_state", "/var/lib/kubelet/dra_manager_state", "/var/lib/kubelet/image_manager",
	"/var/lib/kubelet/actuated_pods_state", "/var/lib/kubelet/allocated_pods_state", "/var/lib/kubelet/pki",
}

// treeOf reads the node's whole tree but for those.
func treeOf(t *testing.T) tree {
	t.Helper()
	all := tree{}
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if slices.Contains(unlisted, path) {
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			if root == box.UsrLayer && d.IsDir() {
				return nil // it is here too once any file in it has changed
			}
			all[path], err = entryOf(path)
			return err
		})
		check(t, err)
	}
	return all
}

func entryOf(path string) (entry, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return entry{}, err
	}
	st := info.Sys().(*syscall.Stat_t)
	e := entry{is: fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid), modified: info.ModTime()}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		link, err := os.Readlink(path)
		e.is += " -> " + link
		return e, err
	case !info.Mode().IsRegular():
		return e, nil
	case info.Size() > 40<<20: // the kubelet, and others of the machine outside
		e.is += fmt.Sprintf(" %d bytes of %s", info.Size(), info.ModTime())
		return e, nil
	}
	data, err := os.ReadFile(path)
	e.is += fmt.Sprintf(" %d bytes %x", len(data), sha256.Sum256(data))
	return e, err
}

// changes says what is different in another tree; with times, also what was only
// written again.
func (tr tree) changes(now tree, times bool) []string {
	var list []string
	for _, path := range slices.Sorted(maps.Keys(tr)) {
		old, later := tr[path], now[path]
		switch {
		case later.is == "":
			list = append(list, fmt.Sprintf("%s is gone; it was %s", path, old.is))
		case old.is != later.is:
			list = append(list, fmt.Sprintf("%s is %s; it was %s", path, later.is, old.is))
		case times && !old.modified.Equal(later.modified):
			list = append(list, fmt.Sprintf("%s is of %s; it was of %s", path, later.modified, old.modified))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(now)) {
		if _, ok := tr[path]; !ok {
			list = append(list, fmt.Sprintf("%s is new: %s", path, now[path].is))
		}
	}
	return list
}
