package process

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// An Owner says who owns a process.
type Owner int

// The answers of [Table.Judge].
const (
	// Node is the node itself: root, outside of every container.
	Node Owner = iota
	// Container is a container on the node.
	Container
	// User is a user who is not root. It may be a rootless kubelet, which is not
	// supported, or any program of that name.
	User
	// Unknown is root with another root file system: nothing shows where its paths
	// lead on the node.
	Unknown
)

// A Verdict says who owns a process and, unless that is the node, why.
type Verdict struct {
	Owner  Owner
	Reason string
}

// Judge says who owns a process. The error is [fs.ErrNotExist] if it has ended.
//
// The node's own processes have root's user id four times (a set-uid program
// keeps the id of the user who started it as its real one), one number in NSpid
// (so they are in no nested PID namespace), no container's control group below
// the one of process 1, and the root file system of process 1.
func (t Table) Judge(pid int) (Verdict, error) {
	status, err := t.read(pid, "status")
	if err != nil {
		return Verdict{}, t.failed(pid, err)
	}
	if v := judgeStatus(pid, string(status)); v.Owner != Node {
		return v, nil
	}
	if t.isSetUID(pid) {
		return Verdict{User, fmt.Sprintf("process %d runs a set-uid program, which any user can start under any name", pid)}, nil
	}
	in, err := t.container(pid)
	if err != nil {
		return Verdict{}, t.failed(pid, err)
	}
	if in != "" {
		return Verdict{Container, fmt.Sprintf("process %d is in the container's control group %q", pid, in)}, nil
	}
	same, err := t.sameRoot(pid, "1")
	if err != nil {
		return Verdict{}, t.failed(pid, err)
	}
	if !same {
		return Verdict{Unknown, fmt.Sprintf("process %d has another root file system than process 1, as a strictly confined snap has, and is in no container", pid)}, nil
	}
	return Verdict{}, nil
}

// isSetUID reports whether a process runs a set-uid program, such as sudo,
// which makes itself root in all four ids. Seeing that needs capabilities.
func (t Table) isSetUID(pid int) bool {
	info, err := os.Stat(filepath.Join(t.dir, strconv.Itoa(pid), "exe"))
	return err == nil && info.Mode()&fs.ModeSetuid != 0
}

func (t Table) failed(pid int, err error) error {
	if !gone(err) {
		return err
	}
	if _, err := t.read(pid, "comm"); gone(err) {
		return fmt.Errorf("process %d has ended: %w", pid, fs.ErrNotExist)
	}
	return fmt.Errorf("process %d cannot be read in %s", pid, t.dir)
}

func judgeStatus(pid int, status string) Verdict {
	uids := field(status, "Uid")
	if len(uids) != 4 {
		return Verdict{Unknown, fmt.Sprintf("process %d does not show its user ids", pid)}
	}
	for _, uid := range uids {
		if uid != "0" {
			return Verdict{User, fmt.Sprintf("process %d runs as user %s, not as root", pid, uid)}
		}
	}
	// Kernels before 4.1 have no NSpid.
	if numbers := field(status, "NSpid"); len(numbers) > 1 {
		return Verdict{Container, fmt.Sprintf("process %d is in a PID namespace of its own", pid)}
	}
	return Verdict{}
}

// field returns the words after a name in /proc/PID/status.
func field(status, name string) []string {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.Fields(rest)
		}
	}
	return nil
}

// container returns the control group of the container that a process is in, ""
// if it is in none.
func (t Table) container(pid int) (string, error) {
	own, err := t.read(pid, "cgroup")
	if err != nil {
		return "", err
	}
	first, err := t.read(1, "cgroup")
	if err != nil {
		return "", err
	}
	return containerOf(string(own), string(first)), nil
}

// containerOf judges each hierarchy by what is below the group of process 1: on
// a node that is itself a container, everything is in that container's group.
func containerOf(own, first string) string {
	base := groupsOf(first)
	for hierarchy, group := range groupsOf(own) {
		below := strings.TrimPrefix(group, "/")
		if top := topOf(base[hierarchy]); top != "" {
			if rest, ok := strings.CutPrefix(group+"/", top+"/"); ok {
				below = rest
			}
		}
		if slices.ContainsFunc(strings.Split(below, "/"), isContainerGroup) {
			return group
		}
	}
	return ""
}

// groupsOf returns the control groups of /proc/PID/cgroup by the names of their
// hierarchies, which is "" for version 2.
func groupsOf(text string) map[string]string {
	groups := map[string]string{}
	for line := range strings.Lines(text) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(f) == 3 {
			groups[f[1]] = f[2]
		}
	}
	return groups
}

// topOf returns the group below which process 1 places the others: its own, or
// the parent if it has moved itself into a leaf, as systemd and k3s do.
func topOf(group string) string {
	for _, leaf := range []string{"/init.scope", "/init"} {
		group = strings.TrimSuffix(group, leaf)
	}
	return strings.TrimSuffix(group, "/")
}

// isContainerGroup reports whether a control group has a name that container
// runtimes and the kubelet give to those of containers, with systemd's help or
// without. A service is not one, whatever its name.
func isContainerGroup(name string) bool {
	return containerGroup.MatchString(name) && !strings.HasSuffix(name, ".service")
}

var containerGroup = regexp.MustCompile(`^(kubepods.*|(cri-containerd|docker|crio|libpod|nerdctl|buildkit)-.+|docker|libpod_parent|lxc|lxc\.payload.*|(.*[-_.:])?[0-9a-f]{64}(\.scope)?)$`)
