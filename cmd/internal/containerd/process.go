package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/process"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A Process is a running containerd.
type Process struct {
	armed.Process

	args []string
	unit string // the service of systemd that it belongs to, or ""
}

// peer returns the process that listens on the other end of a connection.
func peer(conn net.Conn) (*unix.Ucred, error) {
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(err, credErr)
}

// An unknownError says why the program that listens on a socket cannot be
// trusted to be the node's containerd.
type unknownError struct{ *fault.Fault }

func unknown(found, fix string) error { return &unknownError{unread("", found, fix)} }

// process reads what the kernel reports about a process. The error is an
// [unknownError] if it cannot be the node's containerd.
func (s *system) process(pid int) (Process, error) {
	if pid <= 0 {
		return Process{}, unknown("the process that listens there is in a PID namespace that cannot be seen from here", "run mirrorcred on the host, or in a pod with hostPID: true")
	}
	now, err := s.now()
	if err != nil {
		return Process{}, err
	}
	p := Process{Process: armed.Process{Boot: now.Boot, PID: pid}}
	dir := filepath.Join(s.proc, strconv.Itoa(pid))
	var text [2][]byte
	_, p.Start, err = armed.ReadStat(dir)
	for i, name := range []string{"/cmdline", "/cgroup"} {
		if err == nil {
			text[i], err = input.ReadFile(dir+name, 0)
		}
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Process{}, ended(pid)
	}
	if err != nil {
		return Process{}, err
	}
	p.args = strings.Split(strings.TrimSuffix(string(text[0]), "\x00"), "\x00")
	p.unit = s.unitOf(text[1])
	switch owner, err := s.owner(pid); {
	case errors.Is(err, fs.ErrNotExist):
		return Process{}, ended(pid)
	case err != nil:
		return Process{}, err
	case owner.Owner == process.User:
		return Process{}, unknown(owner.Reason+", and a rootless containerd is not supported", "run containerd as root")
	case owner.Owner != process.Node:
		return Process{}, unknown(owner.Reason+", so it is unknown which files it reads", "write the socket of the node's own containerd as address under [containerd] in the map")
	}
	if pid == 1 && !p.isContainerd() {
		return Process{}, unknown("process 1 listens there and passes the connections on, so the process that answers is unknown", "let containerd create its own socket")
	}
	return p, nil
}

// ended returns the fault of a process that ended while it was looked at.
func ended(pid int) error {
	return &fault.Fault{What: "containerd cannot be asked", Found: fmt.Sprintf("process %d, which listened there, has just ended", pid), Fix: "run this again"}
}

// isContainerd reports whether a process has the name of containerd. Any
// process may have that name, but one without it is something else, such as a
// proxy.
func (p Process) isContainerd() bool { return strings.Contains(filepath.Base(p.args[0]), "containerd") }

// workingDir returns the working directory of a process. Reading it needs
// permission to trace the process.
func (s *system) workingDir(pid int) (string, error) {
	return os.Readlink(filepath.Join(s.proc, strconv.Itoa(pid), "cwd"))
}

// defaultConfig is the file that containerd reads if its command line names
// none.
const defaultConfig = "/etc/containerd/config.toml"

// takesValue are the flags of containerd that are followed by a value.
var takesValue = map[string]bool{
	"config": true, "c": true, "log-level": true, "l": true, "address": true, "a": true, "root": true, "state": true,
}

// configFlag returns the configuration that a command line of containerd names,
// by the rules of Go's flag package, which both of its command line libraries
// use; false if it names none.
func configFlag(args []string) (string, bool) {
	value, given := "", false
	for i := 1; i < len(args); i++ {
		arg := args[i]
		if len(arg) < 2 || arg[0] != '-' || arg == "--" {
			break // a command: the rest are its arguments
		}
		name, after, hasValue := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		if !hasValue && takesValue[name] && i+1 < len(args) {
			i++
			after, hasValue = args[i], true
		}
		if hasValue && (name == "config" || name == "c") {
			value, given = after, true
		}
	}
	return value, given
}
