//go:build linux

// Package machinetest plays a machine for tests: a process 1 of a name of one's
// choice in namespaces of its own, other users' processes beside the node's, and
// what is under test among them, with or without the capabilities that a service
// has not. It takes root.
//
// All of them are the test's own binary, run again: have TestMain call [Main].
package machinetest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Process is one that runs beside what is under test. Its name is that of its
// file, which is the test's binary: it does nothing.
type Process struct {
	File string   // the path that it is run by; its directory is made
	Args []string // its arguments, the name that it says it has first
	UID  uint32
	// SetUID has it be a set-uid program of root's, started by UID.
	SetUID bool
	// Namespace gives it a PID namespace of its own.
	Namespace bool
	// Chroot has it see no more than a directory of its own.
	Chroot bool
}

// A Machine is what is played.
type Machine struct {
	Init      string // the name of process 1
	Processes []Process
	// Hide are directories that are empty on the machine.
	Hide []string
	// Sandbox takes all capabilities from what is under test, as the shipped
	// unit does.
	Sandbox bool
	// Setup is a shell script that is run before the processes are started.
	Setup string
}

const (
	roleVariable  = "MIRRORCRED_MACHINETEST"
	sceneVariable = "MIRRORCRED_MACHINETEST_SCENE"
)

// Inside reports whether this process is one of a machine.
func Inside() bool { return os.Getenv(roleVariable) != "" }

// Main runs the tests, or what this process is in a machine. tests are the
// functions that [Machine.Run] can name; what one prints is its result.
func Main(m *testing.M, tests map[string]func() error) int {
	role, name, _ := strings.Cut(os.Getenv(roleVariable), ":")
	switch role {
	case "":
		return m.Run()
	case "idle":
		time.Sleep(time.Hour) // process 1 ends before, and all with it
		return 0
	}
	var scene Machine
	err := json.Unmarshal([]byte(os.Getenv(sceneVariable)), &scene)
	switch {
	case err != nil:
	case role == "init":
		err = scene.init(name)
	case role == "drop":
		err = drop(name)
	default:
		os.Unsetenv(roleVariable)
		err = tests[name]()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Run plays the machine and returns what the function of that name prints.
func (m Machine) Run(t *testing.T, test string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("namespaces take root")
	}
	scene, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "/proc/self/exe")
	c.Env = append(os.Environ(), roleVariable+"=init:"+test, sceneVariable+"="+string(scene))
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	var errs strings.Builder
	c.Stderr = &errs
	out, err := c.Output()
	if err != nil {
		t.Fatalf("the machine: %v\n%s%s", err, out, errs.String())
	}
	return string(out)
}

// init is process 1.
func (m Machine) init(test string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return err
	}
	for _, dir := range m.Hide {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0755"); err != nil {
			return err
		}
	}
	if err := os.WriteFile("/proc/1/comm", []byte(m.Init), 0); err != nil {
		return err
	}
	if m.Setup != "" {
		if out, err := exec.Command("/bin/sh", "-euc", m.Setup).CombinedOutput(); err != nil {
			return fmt.Errorf("setup: %w\n%s", err, out)
		}
	}
	for _, p := range m.Processes {
		if err := p.start(self); err != nil {
			return fmt.Errorf("start %s: %w", p.File, err)
		}
	}
	role := "test:"
	if m.Sandbox {
		role = "drop:"
	}
	c := exec.Command(self)
	c.Env = append(os.Environ(), roleVariable+"="+role+test)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	return c.Run()
}

// start starts the process and returns when it is as described.
func (p Process) start(self string) error {
	if err := os.MkdirAll(filepath.Dir(p.File), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	if err := os.WriteFile(p.File, data, 0o755); err != nil {
		return err
	}
	if p.SetUID {
		if err := os.Chmod(p.File, 0o755|os.ModeSetuid); err != nil {
			return err
		}
	}
	c := exec.Command(p.File)
	c.Args, c.Dir = p.Args, "/"
	c.Env = []string{roleVariable + "=idle"}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.UID, Gid: p.UID}}
	if p.Namespace {
		c.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID
	}
	if p.Chroot {
		c.SysProcAttr.Chroot, c.Path = filepath.Dir(p.File), "/"+filepath.Base(p.File)
	}
	return c.Start() // which returns after the exec
}

// drop runs what is under test without capabilities: what root executes has
// those of the bounding set.
func drop(test string) error {
	runtime.LockOSThread()
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if err := os.Setenv(roleVariable, "test:"+test); err != nil {
		return err
	}
	return syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}
