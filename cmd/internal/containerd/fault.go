package containerd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/hosts/release"
)

// restart returns the command that makes a containerd read its configuration
// again.
func (r running) restart() string {
	unit := strings.TrimSuffix(r.process.unit, ".service")
	if unit == "" {
		unit = "containerd"
	}
	return "run: systemctl restart " + unit
}

// stale returns the fault of a containerd that may have read other files than are
// there now.
func (r running) stale(where, found string) *fault.Fault {
	return &fault.Fault{
		What:  fmt.Sprintf("containerd %s does not report what it has read, and its configuration may have changed since it started", r.version),
		Where: where, Found: found, Fix: r.restart(),
	}
}

// unread returns the fault of a file or a process that tells nothing of what
// containerd reads.
func unread(where, found, fix string) *fault.Fault {
	return &fault.Fault{What: "what containerd reads is not known", Where: where, Found: found, Fix: fix}
}

// unversioned returns the fault of a version that is not known or not supported.
func unversioned(which string, err error) *fault.Fault {
	f := &fault.Fault{Name: doctor.VersionTooOld, What: "the version of containerd is not supported", Found: which + ": " + err.Error(), Cause: err}
	if version := (*release.Fault)(nil); errors.As(err, &version) {
		f.Found, f.Fix = which+": "+version.Text, version.Fix
	}
	return f
}

// fault returns a reason as a fault with the paths of this machine.
func (o Observer) fault(r containerdconfig.Reason) *fault.Fault {
	f := &fault.Fault{Name: r.Name, What: r.What, Found: r.Found(), Fix: r.Repair}
	if r.File != "" {
		f.Where = o.path(r.File)
	}
	if r.Line > 0 {
		f.Where = fmt.Sprintf("%s:%d", f.Where, r.Line)
	}
	return f
}

// rooted makes an error of a configuration a fault with the paths of this machine.
func (o Observer) rooted(err error) error {
	var start *containerdconfig.StartError
	if !errors.As(err, &start) {
		return err
	}
	f := o.fault(start.Reason)
	f.Cause = err
	return f
}
