package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// checkRoot returns an error if Root cannot be opened, or is the root of a
// running machine: mirrorcred would ask and wait for nothing there, although a
// kubelet and a containerd may be running. It checks once.
func (n *Node) checkRoot() error {
	if n.tree == nil {
		return nil
	}
	n.rootOnce.Do(func() {
		if err := n.tree.Check(); err != nil {
			n.rootErr = describe(err)
			return
		}
		if why := runs(n.Root, n.tree); why != "" {
			n.rootErr = &fault.Fault{
				What: "--root names the root of a running machine, and its programs cannot be asked from here", Where: n.Root,
				Found: why, Fix: "run mirrorcred on that machine, without --root", Until: "nothing is changed",
			}
		}
	})
	return n.rootErr
}

// runs says why a directory must be the root of a running machine, "" if
// nothing shows that. A machine shows itself only by its processes or its /run.
func runs(dir string, tree *input.Root) string {
	root, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	same := func(path string) bool {
		other, err := os.Stat(path)
		return err == nil && os.SameFile(root, other)
	}
	switch {
	case same("/"):
		return "it is this machine"
	case same("/proc/1/root/"):
		return "it is that of process 1"
	case same(filepath.Join(dir, "proc/1/root") + "/"):
		return "it is that of process 1 of its /proc"
	case hasRun(root, tree, dir):
		return "systemd has its files in " + filepath.Join(dir, "run")
	}
	for _, pid := range inits() {
		if same("/proc/" + pid + "/root/") {
			return "it is that of process " + pid + ", the first of a container"
		}
	}
	return ""
}

// hasRun reports by its files whether systemd runs (sd_booted(3)); the tree of
// an image may contain those of the machine that builds it.
func hasRun(root fs.FileInfo, tree *input.Root, dir string) bool {
	const booted = "/run/systemd/system"
	there, err := tree.Lstat(filepath.Join(dir, booted))
	if err != nil || !there.IsDir() {
		return false
	}
	if here, err := os.Lstat(booted); err == nil && os.SameFile(here, there) {
		return false
	}
	// In the image itself it would be a leftover.
	run, err1 := device(there)
	image, err2 := device(root)
	return err1 == nil && err2 == nil && run != image
}

func device(info fs.FileInfo) (uint64, error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	return uint64(st.Dev), nil
}

// inits returns the first process of each PID namespace below this one.
func inits() []string {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []string
	for _, e := range entries {
		if name := e.Name(); name[0] < '1' || name[0] > '9' {
			continue
		}
		status, err := input.ReadFile("/proc/"+e.Name()+"/status", 0)
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(status)) {
			ids := strings.Fields(strings.TrimPrefix(line, "NSpid:"))
			if strings.HasPrefix(line, "NSpid:") && len(ids) > 1 && ids[len(ids)-1] == "1" {
				list = append(list, e.Name())
			}
		}
	}
	return list
}
