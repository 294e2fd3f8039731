//go:build unix

package child

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// killGroup makes the end of cmd's context kill the program and whatever it
// started: a provider is often a script around another program.
func killGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		// One that was waited for has no group of its own any more; its
		// number may be another's.
		if err := cmd.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
			return err
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
}
