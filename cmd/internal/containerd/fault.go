package containerd

import "strings"

// A Fault says why containerd does not read the tree: what was found, where, and
// what to write and to run.
type Fault struct {
	// Name is the name of the reason (package containerdconfig), or "".
	Name  string
	Found string
	Where string // the file and its line, or ""
	Fix   string
}

// Error returns the fault in one line, for a log.
func (f *Fault) Error() string {
	var parts []string
	if f.Where != "" {
		parts = append(parts, f.Where+": "+f.Found)
	} else {
		parts = append(parts, f.Found)
	}
	if f.Fix != "" {
		parts = append(parts, f.Fix)
	}
	return strings.Join(parts, "; ")
}

// restart returns the command that makes a containerd read its configuration
// again.
func (r running) restart() string {
	unit := strings.TrimSuffix(r.process.unit, ".service")
	if unit == "" {
		unit = "containerd"
	}
	return "run: systemctl restart " + unit
}
