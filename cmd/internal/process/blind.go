package process

import (
	"fmt"
	"slices"
	"strings"
)

// initNames are the names of the init systems that a machine has as process 1.
// A k3d node counts as one; it starts with k3s, or with an init that starts
// k3s.
var (
	initNames = []string{
		"systemd", "init", "openrc-init", "runit", "s6-svscan", "dinit", "shepherd", "k3s", "k3s-server", "k3s-agent",
	}
	smallInits = []string{"docker-init", "tini", "catatonit"}
)

// Blind returns why a process of the node might be hidden, "" if none can be:
// process 1 is the init system of the machine with these files. In a container,
// such as a pod or one that builds an image, it is not.
func (t Table) Blind() (string, error) {
	comm, err := t.read(1, "comm")
	if err != nil {
		return "", err
	}
	status, err := t.read(1, "status")
	if err != nil {
		return "", err
	}
	name := trimName(comm)
	isInit := slices.Contains(initNames, name) || slices.Contains(smallInits, name) && t.startsK3s()
	if !isInit || judgeStatus(1, string(status)).Owner == User {
		return fmt.Sprintf("process 1 is %q and not a machine's init system, so this may be a container", name), nil
	}
	if hidden, err := t.hidden(); hidden || err != nil {
		return "/proc hides the processes of other users", err
	}
	same, err := t.sameRoot(1, t.self)
	if err != nil {
		return "", err
	}
	if !same {
		return "process 1 has another root file system, so the files here are not the machine's", nil
	}
	return "", nil
}

// startsK3s reports whether process 1 is what starts k3s in a k3d node.
func (t Table) startsK3s() bool {
	cmdline, err := t.read(1, "cmdline")
	return err == nil && slices.ContainsFunc(strings.Split(string(cmdline), "\x00"), func(word string) bool {
		return word == "k3s" || strings.HasSuffix(word, "/k3s") || strings.HasSuffix(word, "/k3d-entrypoint.sh")
	})
}

// hidden reports whether the table leaves out processes (mount option hidepid,
// proc(5)) for users who are not root or may not trace.
func (t Table) hidden() (bool, error) {
	data, err := t.readEntry(t.self, "mountinfo")
	if err != nil {
		return false, err
	}
	m, ok := mountAt(string(data), t.dir)
	return ok && strings.Contains(m.options, "hidepid=") && !strings.Contains(m.options, "hidepid=0") && !strings.Contains(m.options, "hidepid=off"), nil
}

// sameRoot reports whether two processes have the same root file system. Their
// mount namespaces may differ: a sandboxed service has its own, in which the
// node's paths lead to the same files.
func (t Table) sameRoot(pid int, other string) (bool, error) {
	one, err := t.read(pid, "mountinfo")
	if err != nil {
		return false, err
	}
	two, err := t.readEntry(other, "mountinfo")
	if err != nil {
		return false, err
	}
	a, okA := mountAt(string(one), "/")
	b, okB := mountAt(string(two), "/")
	return okA && okB && a.device == b.device && a.root == b.root, nil
}

// A mount is one line of /proc/PID/mountinfo.
type mount struct{ device, root, options string }

// mountAt returns the mount at a place: the last of several.
func mountAt(mountinfo, place string) (mount, bool) {
	var found mount
	ok := false
	for line := range strings.Lines(mountinfo) {
		f := strings.Fields(line)
		if len(f) < 7 || f[4] != place {
			continue
		}
		found, ok = mount{f[2], f[3], f[len(f)-1]}, true
	}
	return found, ok
}
