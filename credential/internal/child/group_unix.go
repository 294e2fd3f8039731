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
		// After the wait the group is gone, and its number may be reused.
		if err := cmd.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) {
			return err
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil {
			return cmd.Process.Kill()
		}
		return nil
	}
}
