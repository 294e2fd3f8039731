package watch

import (
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// A lastPlan is what the metrics need of the last plan that was made, besides the
// status.
type lastPlan struct {
	auditLog, hostsDir string
	routed             bool
	credentials        []string
	lifetimes          []doctor.Lifetime
	// mapHash names the map, and mapChanged is when its file got that content.
	mapHash    string
	mapChanged time.Time
}

// record stores the outcome of a pass in which a plan was made.
func (l *lastPlan) record(r Report) {
	p := r.Plan
	l.auditLog, l.hostsDir, l.routed = p.AuditLog, p.HostsDir, p.Routed
	l.credentials, l.lifetimes = p.Credentials, p.Lifetimes
	if l.mapHash != p.Generation {
		// The file's time alone also changes when the same map is written again.
		l.mapHash, l.mapChanged = p.Generation, r.MapTime
	}
}
