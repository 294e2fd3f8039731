package box

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	groupsRoot     = "/sys/fs/cgroup"
	groupsVariable = "MIRRORCRED_E2E_CGROUP"
)

// groups are the cgroups of one box: one of the same name in each hierarchy of
// the machine. Below them the box has a cgroup namespace, so that what a
// kubelet makes at /kubepods is theirs.
//
// Only hierarchies of version 1 are known here: with one of version 2, process
// 1 would have to leave the root before a controller can be switched on.
type groups struct{ name string }

// newGroups names the cgroups of a new box, and removes those of boxes whose
// first process was killed.
func newGroups() (groups, error) {
	names, err := hierarchies()
	if err != nil {
		return groups{}, err
	}
	if !slices.Contains(names, "memory") {
		return groups{}, fmt.Errorf("%s has no hierarchy of cgroup version 1 for memory; these tests know no other", groupsRoot)
	}
	for _, name := range names {
		for _, dir := range abandoned(filepath.Join(groupsRoot, name)) {
			removeTree(dir)
		}
	}
	return groups{ownName()}, nil
}

// hierarchies returns the directories of the hierarchies that matter.
func hierarchies() ([]string, error) {
	entries, err := os.ReadDir(groupsRoot)
	var names []string
	for _, e := range entries {
		if e.IsDir() && e.Name() != "unified" {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// enter makes the cgroups and puts this process into them.
func (g groups) enter() error {
	names, err := hierarchies()
	if err != nil {
		return err
	}
	for _, name := range names {
		dir := filepath.Join(groupsRoot, name, g.name)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		// A new cpuset has no processor and takes no process.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			data, err := os.ReadFile(filepath.Join(groupsRoot, name, file))
			if err != nil {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, file), data, 0o644); err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte("0"), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mount gives the box hierarchies whose root is the cgroup that this process
// is in.
func (g groups) mount() error {
	names, err := hierarchies()
	if err != nil {
		return err
	}
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return err
	}
	if err := mountAt("tmpfs", groupsRoot, "mode=755"); err != nil {
		return err
	}
	for _, name := range names {
		dir := filepath.Join(groupsRoot, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		options := name
		if name == "systemd" {
			options = "none,name=systemd"
		}
		if err := mountAt("cgroup", dir, options); err != nil {
			return err
		}
	}
	return nil
}

// remove takes the cgroups away when all that was in them has ended. It gives
// up after some seconds: an empty cgroup does no harm.
func (g groups) remove() {
	names, _ := hierarchies()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		names = slices.DeleteFunc(names, func(name string) bool {
			return removeTree(filepath.Join(groupsRoot, name, g.name))
		})
		if len(names) == 0 {
			return
		}
	}
	fmt.Fprintf(os.Stderr, "left behind: %s in %s\n", g.name, strings.Join(names, ", "))
}

// removeTree removes a cgroup and those below it, and reports whether it is
// gone.
func removeTree(dir string) bool {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(dir, e.Name()))
		}
	}
	err := syscall.Rmdir(dir)
	return err == nil || err == syscall.ENOENT
}
