// Package box runs a program as if it were alone on a machine: with a network
// of nothing but loopback, processes that die with it, and an /etc, /usr, /var,
// /opt and /run that it may write to and no one else sees.
//
// It takes three processes of one program. The first, outside, starts the
// second in new namespaces and cleans up behind it; the second is that
// namespace's process 1: it builds the box, starts the third, and reaps; the
// third is the program proper. Killing any of them ends all, and all that they
// started: the kernel sees to it.
//
// Start at [Run]. A box has no service manager; [Systemd] gives it one.
package box

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// stage is the variable that tells the three processes apart.
const stage = "MIRRORCRED_E2E_STAGE"

// Inside reports whether this process is in the box, to be the program proper.
func Inside() bool { return os.Getenv(stage) == "inside" }

// Run is the rest of the first two processes: it starts this program again in
// a box, with the same arguments and with env added to the environment, waits
// for it, and returns the status to exit with. before runs in the first
// process alone, and its error ends that. A process that is [Inside] does not
// call Run.
func Run(before func() (env []string, err error)) int {
	switch os.Getenv(stage) {
	case "init":
		return initialize()
	case "systemd":
		fmt.Fprintf(os.Stderr, "become systemd: %v\n", becomeSystemd())
		return 1
	}
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "these tests make namespaces and mounts, which takes root; run them as root")
		return 1
	}
	env, err := before()
	if err == nil {
		var status int
		if status, err = enter(env); err == nil {
			return status
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// enter starts process 1 of a new box and waits for it.
func enter(env []string) (int, error) {
	groups, err := newGroups()
	if err != nil {
		return 0, err
	}
	defer groups.remove()
	c := exec.Command("/proc/self/exe", slices.DeleteFunc(slices.Clone(os.Args[1:]), isTestLog)...)
	c.Args[0] = os.Args[0]
	c.Env = append(append(os.Environ(), env...), stage+"=init", groupsVariable+"="+groups.name)
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	// Pdeathsig is sent when the thread ends that started the process.
	runtime.LockOSThread()
	if err := c.Start(); err != nil {
		return 0, err
	}
	go func() {
		<-signals
		c.Process.Kill()
	}()
	if err := c.Wait(); c.ProcessState == nil {
		return 0, err
	}
	if status := c.ProcessState.ExitCode(); status >= 0 {
		return status, nil
	}
	return 0, fmt.Errorf("the box ended: %s", c.ProcessState)
}

// isTestLog picks the flag that has a test write down which files it read: two
// processes cannot write one file.
func isTestLog(arg string) bool { return strings.HasPrefix(arg, "-test.testlogfile") }

// initialize is process 1 of the box.
func initialize() int {
	runtime.LockOSThread() // the cgroup namespace is that of this thread
	if err := build(); err != nil {
		fmt.Fprintf(os.Stderr, "build a box for the test: %v\n", err)
		return 1
	}
	os.Setenv(stage, "inside")
	program, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return reap(program.Pid)
}

// reap waits for every process that ends in the box, containers and their
// shims among them, until the program does.
func reap(program int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR || err == nil && pid != program:
		case err != nil || status.Signaled():
			return 1
		case status.Exited():
			return status.ExitStatus()
		}
	}
}
