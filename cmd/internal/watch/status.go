package watch

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// A Status is the state of the node as its watcher knows it.
type Status struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// Map is the map that was read last, MapHash the SHA-256 of what was read, ""
	// for nothing, and Delivered says that it came from the cluster. UnusedMap is as
	// in [node.Source]. Fault says whether the map is applied.
	Map       string `json:"map"`
	MapHash   string `json:"map_hash,omitempty"`
	Delivered bool   `json:"map_delivered,omitempty"`
	UnusedMap string `json:"unused_map,omitempty"`
	// LastReconcile is when the last pass began: it saw what was written before,
	// but maybe not what was written during it. LastChange is when the node was
	// last changed. Both are zero before the first.
	LastReconcile time.Time `json:"last_reconcile"`
	LastChange    time.Time `json:"last_change,omitzero"`
	// InSync says that the node matches its map.
	InSync   bool           `json:"in_sync"`
	Sources  int            `json:"sources"`
	Pending  []plan.Pending `json:"pending"`
	Draining []plan.Pending `json:"draining"`
	// Held are sources that the map removes, or takes a credential away from, and that
	// stay as they are until the map is stable.
	Held      []plan.Pending  `json:"held"`
	Conflicts []plan.Conflict `json:"conflicts"`
	// Loss and LossWhy are as in [plan.Plan].
	Loss    string      `json:"next_start,omitempty"`
	LossWhy fault.Fault `json:"next_start_why,omitzero"`
	// Faults and Warnings are as in [plan.Plan].
	Faults   []plan.Pending   `json:"faults"`
	Warnings []doctor.Finding `json:"warnings"`
	// Fault is why the map is not applied, "" if it is. What was applied before
	// stays. FaultParts are the [node.Parts] that it is about.
	Fault string `json:"fault,omitempty"`
	// FaultWhy has the faults of the node in it in their parts.
	FaultWhy   []fault.Fault `json:"fault_why,omitempty"`
	FaultParts []string      `json:"fault_parts,omitempty"`
	// ConflictingSources, NeedsRestart and Generation are as in [plan.Plan].
	ConflictingSources int    `json:"conflicting_sources"`
	NeedsRestart       bool   `json:"needs_kubelet_restart"`
	Generation         string `json:"generation,omitempty"`
	// BackingOff is as in [Report].
	BackingOff bool `json:"backing_off,omitempty"`
	// Degraded and Dropped are as in [FileWatching].
	Degraded string `json:"file_watching_degraded,omitempty"`
	Dropped  int    `json:"file_events_dropped,omitempty"`
	// Deliveries are the credentials that are in hosts.toml.
	Deliveries []Delivery `json:"deliveries,omitempty"`
	// Armed says that the plugin may return credentials: containerd reads the
	// mirrors.
	Armed bool `json:"armed"`
	// RestartKubelet says that the watcher may restart the kubelet.
	RestartKubelet bool `json:"restart_kubelet"`
	// NoRestart says why a watcher that may restart the kubelet cannot, "" if it
	// can or may not.
	NoRestart string `json:"no_restart,omitempty"`
}

// A StatusStore holds the status for all who read it.
type StatusStore struct {
	mu     sync.Mutex
	status Status
	last   lastPlan
}

// NewStatusStore returns a store for a watcher that has just started.
func NewStatusStore(version, mapFile string) *StatusStore {
	return &StatusStore{status: Status{
		Version: version, PID: os.Getpid(), Map: mapFile, Started: time.Now(),
		Pending: []plan.Pending{}, Draining: []plan.Pending{}, Held: []plan.Pending{}, Conflicts: []plan.Conflict{},
		Faults: []plan.Pending{}, Warnings: []doctor.Finding{},
	}}
}

// Record stores the outcome of a pass.
func (s *StatusStore) Record(r Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := &s.status
	now.LastReconcile = r.Began
	now.from(r.Source)
	var unarmed *node.NotArmedError
	switch {
	case errors.As(r.Err, &unarmed):
		now.Armed = false
	case r.Err == nil:
		now.Armed = true
	}
	now.Fault, now.FaultWhy, now.BackingOff, now.FaultParts = "", nil, r.BackingOff, node.PartsOf(r.Err)
	if r.Err != nil {
		now.Fault, now.FaultWhy, now.InSync = r.Err.Error(), fault.List(r.Err), false
		return
	}
	if len(r.Plan.Changes) > 0 && !r.BackingOff {
		now.LastChange = time.Now()
	}
	now.Sources, now.Pending, now.Draining, now.Held, now.Conflicts = r.Plan.Sources, r.Plan.Pending, r.Plan.Draining, r.Plan.Held, r.Plan.Conflicts
	now.Faults, now.Warnings = r.Plan.Faults, r.Plan.Warnings
	now.Loss, now.LossWhy = r.Plan.Loss, r.Plan.LossWhy
	now.ConflictingSources, now.NeedsRestart, now.Generation = r.Plan.ConflictingSources(), r.Plan.NeedsRestart, r.Plan.Generation
	s.last.record(r)
	now.InSync = r.inSync()
}

// from sets the fields of a status about the map.
func (s *Status) from(source node.Source) {
	if source.File != "" {
		s.Map = source.File
	}
	s.MapHash, s.Delivered, s.UnusedMap = source.Hash, source.Delivered, source.Unused
}

// SetRestartKubelet stores that the watcher may restart the kubelet.
func (s *StatusStore) SetRestartKubelet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.RestartKubelet = true
}

// SetFileWatching stores how well file changes are noticed.
func (s *StatusStore) SetFileWatching(h FileWatching) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Degraded, s.status.Dropped = h.Degraded, h.Dropped
}

// SetNoRestart stores why the kubelet cannot be restarted from here.
func (s *StatusStore) SetNoRestart(reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.NoRestart = reason
}

// Status returns the status as it is now.
func (s *StatusStore) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// AuditLog returns the audit_log of the last applied map.
func (s *StatusStore) AuditLog() string { return s.lastPlan().auditLog }

// lastPlan returns what the metrics need of the last plan.
func (s *StatusStore) lastPlan() lastPlan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// active returns how many sources of the map are active.
func (s Status) active() int {
	return max(0, s.Sources-len(s.Pending)-len(s.Faults)-s.ConflictingSources)
}

// warnings counts the warnings by name.
func (s Status) warnings() map[string]float64 {
	counts := map[string]float64{}
	for _, w := range s.Warnings {
		counts[w.Name]++
	}
	return counts
}

// Alive reports whether a pass began lately, or the watcher has just started.
func (s *StatusStore) Alive(late time.Duration) bool {
	now := s.Status()
	last := now.LastReconcile
	if last.IsZero() {
		last = now.Started
	}
	return time.Since(last) < late
}

// Line returns the status in a few words, for a service manager.
func (s Status) Line() string {
	switch {
	case s.LastReconcile.IsZero():
		return "comparing the node with its map"
	case s.Fault != "":
		return "the map is not applied: " + s.Fault
	case s.BackingOff:
		return "another program keeps reverting mirrorcred's files"
	case s.Loss != "":
		return "containerd will not read the mirrors after its next start: " + s.Loss
	}
	return fmt.Sprintf("%d sources, %d pending, %d draining, %d held, %d in conflict", s.Sources, len(s.Pending), len(s.Draining), len(s.Held), len(s.Conflicts))
}
