package node

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	live "github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	proc "github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/systemd"
)

var (
	errIsDirectory  = unix.EISDIR
	errNotDirectory = unix.ENOTDIR
	errReadOnly     = unix.EROFS
	errNoSpace      = unix.ENOSPC
	errLoop         = unix.ELOOP
	errQuota        = unix.EDQUOT
)

// A machine answers what is not on the disk.
type machine interface {
	// now returns the present moment.
	now() (plan.Moment, error)
	// wall returns the wall clock, which files are stamped with.
	wall() time.Time
	// when returns the moment of a time on the wall clock.
	when(time.Time) (plan.Moment, error)
	// kubelets returns the running kubelets, and why there may be another one that
	// cannot be seen, "" if there cannot.
	kubelets() (running []plan.Process, unseen string, err error)
	// version asks a kubelet's program for its version, such as "v1.34.2".
	version(plan.Process) (string, error)
	// changedSince reports whether a file, or a link on the way to it, may
	// have changed since a kubelet started.
	changedSince(path string, k plan.Process) (bool, error)
	// clockSet reports whether the wall clock is known to have been set since
	// boot, and records that unless it is a dry run.
	clockSet(dry bool) bool
	// dated returns how far file times show what existed when a kubelet started.
	dated(k plan.Process) plan.Dating
}

// flagOf returns the value of a flag of a kubelet, false if it is not given.
func flagOf(k plan.Process, name string) (string, bool) { return live.Flag(k.Args, name) }

// linux is the machine that mirrorcred runs on.
type linux struct {
	units *units // what systemd reported before; nil for nothing
}

// units cache when systemd started the unit of a process: as long as the
// process runs, that does not change.
type units struct {
	mu     sync.Mutex
	states map[plan.Moment]systemd.State
}

func (linux) now() (plan.Moment, error) {
	boot, err := bootID()
	if err != nil {
		return plan.Moment{}, err
	}
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return plan.Moment{}, fmt.Errorf("read the time since boot: %w", err)
	}
	return plan.Moment{Boot: boot, Since: time.Duration(ts.Nano())}, nil
}

func (linux) wall() time.Time { return time.Now() }

// when counts back from now, by the present wall clock.
func (l linux) when(t time.Time) (plan.Moment, error) {
	m, err := l.now()
	m.Since -= time.Since(t)
	return m, err
}

func bootID() (string, error) {
	data, err := input.ReadFile("/proc/sys/kernel/random/boot_id", 0)
	return strings.TrimSpace(string(data)), err
}

// kubelets finds the node's own kubelets, which package kubelet tells from
// others.
func (linux) kubelets() ([]plan.Process, string, error) {
	boot, err := bootID()
	if err != nil {
		return nil, "", err
	}
	seen, err := live.Running(proc.Proc)
	if err != nil {
		return nil, "", err
	}
	var list []plan.Process
	for _, k := range seen.Kubelets {
		list = append(list, plan.Process{
			PID: k.PID, Started: plan.Moment{Boot: boot, Since: k.Started}, Args: k.Args, Embedded: k.Embedded, Unit: k.Unit,
			Place: placeOf(fmt.Sprintf("/proc/%d", k.PID)),
		})
	}
	return list, seen.Unknown, nil
}

// placeOf reads where the process of a /proc directory runs, which needs that
// process's capabilities.
func placeOf(proc string) *plan.Place {
	dir, err := os.Readlink(proc + "/cwd")
	environ, err2 := input.ReadFile(proc+"/environ", 0)
	if err != nil || err2 != nil {
		return nil
	}
	p := plan.Place{Dir: dir}
	for _, v := range strings.Split(string(environ), "\x00") {
		if home, ok := strings.CutPrefix(v, "HOME="); ok && p.Home == "" {
			p.Home = home // the first of two counts, as in Go (syscall.Getenv)
		}
	}
	return &p
}

// version returns the version of a kubelet from [linux.kubelets].
func (linux) version(p plan.Process) (string, error) {
	return live.Kubelet{Process: proc.Process{PID: p.PID, Args: p.Args, Unit: p.Unit}}.Version()
}

// KubeletUnit returns the systemd service that runs the kubelet, "" if none
// does, and whether a kubelet runs at all.
func (n *Node) KubeletUnit() (unit string, runs bool, err error) {
	running, _, err := n.host.kubelets()
	for _, k := range running {
		if k.Unit != "" {
			return k.Unit, true, nil
		}
	}
	return "", len(running) > 0, err
}
