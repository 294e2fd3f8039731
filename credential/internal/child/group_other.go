//go:build !unix

package child

import "os/exec"

// killGroup does nothing if there are no process groups: the program alone
// is killed, which [exec.CommandContext] does.
func killGroup(*exec.Cmd) {}
