package box

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// systemdProgram is where systemd is on every distribution that has it.
const systemdProgram = "/lib/systemd/systemd"

// Systemd returns a command that runs systemd, inside a box, as process 1 of a
// pid namespace of its own, which is what it takes to be a machine's service
// manager. Its files and network are the box's. It knows the units in the
// directory named and in [Units] and no others, and starts default.target. It takes a SIGKILL
// to end it, and all that it started ends with it.
func Systemd(units string) *exec.Cmd {
	c := exec.Command("/proc/self/exe")
	c.Env = []string{
		stage + "=systemd",
		"PATH=" + os.Getenv("PATH"),
		"container=mirrorcred-e2e", // so that it leaves alone what no namespace holds
		"SYSTEMD_UNIT_PATH=" + units + ":" + Units,
		"SYSTEMD_GENERATOR_PATH=/nonexistent",
	}
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	return c
}

// becomeSystemd gives the new namespaces a /proc that fits and makes this
// process systemd.
func becomeSystemd() error {
	// With what lies over it: see [tunables]. Of the rest systemd would raise
	// the limits on open files, which are the whole machine's.
	const settings, aside = "/proc/sys", "/run/proc-sys"
	if err := os.MkdirAll(aside, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(settings, aside, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := mountAt("proc", "/proc", ""); err != nil {
		return err
	}
	if err := unix.Mount(aside, settings, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	if err := unix.Mount("", settings, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	// The network's are the box's own, and network plugins set some of them.
	if err := unix.Mount(aside+"/net", settings+"/net", "", unix.MS_BIND, ""); err != nil {
		return err
	}
	os.Unsetenv(stage)
	return syscall.Exec(systemdProgram, []string{systemdProgram, "--log-target=null"}, os.Environ())
}
