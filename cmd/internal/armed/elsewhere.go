//go:build !linux

package armed

import "errors"

// errLinux is why nothing is returned elsewhere: what a node is armed by is read
// from /proc, and the manager runs on Linux only.
var errLinux = errors.New("what containerd reads is known on Linux only; on this system give the plugin a list of mirrors instead of routes")

// Stopped always says that nothing may be returned.
func Stopped(string) error { return errLinux }

// Check always says that nothing may be returned.
func Check(_, _, _ string) error { return errLinux }
