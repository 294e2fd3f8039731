package watch

import (
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// FromPlan returns the status of a node that no watcher keeps, from a plan that is not
// carried out, or from why there is none.
func FromPlan(version string, source node.Source, p plan.Plan, err error) Status {
	s := NewStatusStore(version, source.File)
	s.Record(Report{Plan: p, Source: source, Err: err})
	status := s.Status()
	status.PID, status.Started, status.LastReconcile, status.LastChange = 0, time.Time{}, time.Time{}, time.Time{} // a watcher's
	status.FaultParts = node.PartsOf(err)
	status.InSync = status.InSync && len(p.Changes) == 0 && p.Stopped == ""
	if p.Stopped != "" {
		status.Warnings = append(status.Warnings, doctor.Finding{Name: doctor.PluginStopped, Text: "the plugin returns no credentials: " + p.Stopped, Repair: "mirrorcred apply"})
	}
	return status
}
