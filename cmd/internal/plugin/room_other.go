//go:build !linux

package plugin

// checkRoom asks nothing: no limit of the kubelet's unit is inherited here.
func checkRoom() error { return nil }
