package node

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

var (
	errIsDirectory  = unix.EISDIR
	errNotDirectory = unix.ENOTDIR
	errReadOnly     = unix.EROFS
	errNoSpace      = unix.ENOSPC
	errQuota        = unix.EDQUOT
)

// A machine is asked for what is not on the disk.
type machine interface {
	// now returns the present moment.
	now() (Moment, error)
	// kubelets returns the kubelets that run.
	kubelets() ([]process, error)
	// version asks a kubelet's program for its version, such as "v1.34.2".
	version(process) (string, error)
}

// A process is a running kubelet.
type process struct {
	pid     int
	started Moment
	args    []string
	// embedded says that the kubelet is part of another program, so that
	// its flags are not among args.
	embedded bool
	// unit is the service of systemd's that the process belongs to, or "".
	unit string
}

// flag returns the value of a flag of the process, and false where it is not
// given.
func (p process) flag(name string) (string, bool) {
	value, ok := "", false
	for i, arg := range p.args {
		key, after, hasValue := strings.Cut(arg, "=")
		if strings.TrimLeft(key, "-") != name || !strings.HasPrefix(key, "-") {
			continue
		}
		switch {
		case hasValue:
			value, ok = after, true
		case i+1 < len(p.args):
			value, ok = p.args[i+1], true
		}
	}
	return value, ok
}

// kubeletNames are the process names of kubelets, true where the kubelet is
// embedded in the program: k3s and MicroK8s.
var kubeletNames = map[string]bool{
	"kubelet": false, "k3s": true, "k3s-server": true, "k3s-agent": true, "kubelite": true,
}

// linux is the machine that we run on.
type linux struct{}

func (linux) now() (Moment, error) {
	boot, err := bootID()
	if err != nil {
		return Moment{}, err
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return Moment{}, fmt.Errorf("read the time since boot: %w", err)
	}
	return Moment{boot, time.Duration(ts.Nano())}, nil
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(data)), err
}

// kubelets looks through /proc. A process that ends meanwhile is none.
func (linux) kubelets() ([]process, error) {
	boot, err := bootID()
	if err != nil {
		return nil, err
	}
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	var list []process
	for _, dir := range names {
		comm, err := os.ReadFile(dir + "/comm")
		embedded, ok := kubeletNames[strings.TrimSpace(string(comm))]
		if err != nil || !ok {
			continue
		}
		stat, err1 := os.ReadFile(dir + "/stat")
		cmdline, err2 := os.ReadFile(dir + "/cmdline")
		since, ok := startTime(stat)
		if err1 != nil || err2 != nil || !ok {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(dir))
		args := strings.Split(strings.TrimSuffix(string(cmdline), "\x00"), "\x00")
		groups, _ := os.ReadFile(dir + "/cgroup") // without them it is of no unit
		list = append(list, process{pid, Moment{boot, since}, args, embedded, unitOf(groups)})
	}
	return list, nil
}

// versionTime is how long a program may take to tell its version.
const versionTime = 10 * time.Second

var kubernetesVersion = regexp.MustCompile(`\bv([1-9][0-9]*\.[0-9]+\.[0-9]+)`)

// version runs the program with --version, which each kubelet takes, and k3s
// too: the one of the process's path, which is what starts next.
func (linux) version(p process) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), versionTime)
	defer cancel()
	path := ""
	if words := strings.Fields(strings.Join(p.args, " ")); len(words) > 0 {
		path = words[0] // k3s has all of its arguments in the first
	}
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version (process %d): %w", path, p.pid, err)
	}
	found := kubernetesVersion.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("%s --version (process %d) prints no version of Kubernetes: %.80q", path, p.pid, out)
	}
	return string(found[1]), nil
}

// startTime reads field 22 of /proc/PID/stat (proc_pid_stat(5)): the start in
// clock ticks since boot, of which user space has 100 a second.
func startTime(stat []byte) (time.Duration, bool) {
	// The name in parentheses may hold spaces and parentheses.
	_, rest, ok := bytes.Cut(stat[bytes.LastIndexByte(stat, ')')+1:], []byte(" "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 20 {
		return 0, false
	}
	ticks, err := strconv.ParseInt(fields[19], 10, 64)
	return time.Duration(ticks) * 10 * time.Millisecond, err == nil
}

// KubeletUnit returns the service of systemd's that runs the kubelet, "" where
// none does.
func (n *Node) KubeletUnit() (string, error) {
	running, err := n.host.kubelets()
	for _, k := range running {
		if k.unit != "" {
			return k.unit, nil
		}
	}
	return "", err
}

// unitOf returns the service that a process belongs to by its /proc/PID/cgroup
// (cgroups(7)), "" where it belongs to none. systemd has its cgroups in the
// hierarchy of version 2 or, under its name, in one of version 1.
func unitOf(groups []byte) string {
	for line := range strings.Lines(string(groups)) {
		field := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(field) < 3 || field[1] != "" && field[1] != "name=systemd" {
			continue
		}
		// A unit is below slices, and what is below it is its own.
		for name := range strings.SplitSeq(strings.Trim(field[2], "/"), "/") {
			if strings.HasSuffix(name, ".service") {
				return name
			}
			if !strings.HasSuffix(name, ".slice") {
				break
			}
		}
	}
	return ""
}
