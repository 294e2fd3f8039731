package plan

import (
	"path"
	"strings"
)

// A ConfigError says why nothing was applied, and which part of the node to fix:
// each has a runbook of its own.
type ConfigError struct {
	Part string // one of those below
	Err  error
}

// The parts of a node that an error can be about.
const (
	PartMap        = "map"
	PartContainerd = "containerd"
	PartKubelet    = "kubelet"
	PartDisk       = "disk" // everything else: no space, a read-only file system, the lock
)

// NotApplied is what a fault that ends a run means for a node.
const NotApplied = "the map is not applied, and what was applied before stays"

// Error returns the error's own text.
func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap returns the error.
func (e *ConfigError) Unwrap() error { return e.Err }

// About says which part of the node an error is about; nil stays nil.
func About(part string, err error) error {
	if err == nil {
		return nil
	}
	return &ConfigError{part, err}
}

// ConflictingSources returns how many sources of the map have a file in their namespace
// that mirrorcred did not write, or that cannot be changed.
func (p Plan) ConflictingSources() int {
	names := map[string]bool{}
	for _, left := range p.Conflicts {
		rest, ok := strings.CutPrefix(left.Path, path.Clean(p.HostsDir)+"/")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if strings.Contains(name, ":") { // the other spelling of a host with a port
			name = strings.ReplaceAll(name, ":", "_") + "_"
		}
		if p.Wanted[name] {
			names[name] = true
		}
	}
	return len(names)
}
