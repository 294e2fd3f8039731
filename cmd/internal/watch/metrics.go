package watch

import (
	"slices"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// Metrics are a watcher's metrics for Prometheus.
type Metrics struct {
	store *StatusStore
	runs  *pluginRuns

	armed func(hostsDir string) bool

	mu         sync.Mutex
	reconciles map[string]float64 // by result
	took       histogram
	restarts   map[string]float64 // of the kubelet, by outcome
}

// results are the results of a reconcile.
var results = []string{"unchanged", "changed", "held", "backoff", "error"}

// NewMetrics returns metrics that read their gauges from the status. logFile returns
// the path of the plugin's log for an audit_log of the map, "" if it is not a file. armed
// reports whether the plugin may return credentials for the mirrors in a hosts_dir.
func NewMetrics(s *StatusStore, logFile func(auditLog string) string, armed func(hostsDir string) bool) *Metrics {
	m := &Metrics{
		store:      s,
		runs:       newPluginRuns(s.Status().Started, func() string { return logFile(s.AuditLog()) }),
		armed:      armed,
		reconciles: map[string]float64{},
		took:       newHistogram(0.001, 4, 7),
		restarts:   map[string]float64{},
	}
	for _, outcome := range restartOutcomes {
		m.restarts[string(outcome)] = 0
	}
	for _, result := range results {
		m.reconciles[result] = 0 // a rate needs the initial 0
	}
	return m
}

// expose returns the page that Prometheus scrapes.
func (m *Metrics) expose() []byte {
	var e exposition
	s := m.store.Status()
	exposeStatus(&e, s)
	last := m.store.lastPlan()
	exposeMap(&e, last, s.Deliveries)
	exposeDeliveries(&e, s.Deliveries)
	m.exposeArmed(&e, last)
	m.exposeReconciles(&e)
	m.runs.expose(&e, last.credentials)
	exposeProcess(&e, s.Started)
	exposeGo(&e)
	return e.text.Bytes()
}

func (m *Metrics) exposeReconciles(e *exposition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.labelled(counter, "mirrorcred_reconciles_total",
		"Reconcile passes by result: unchanged, changed, held (a change waits for a stable map), backoff (another program keeps reverting files), error.",
		"result", m.reconciles)
	e.histogram("mirrorcred_reconcile_duration_seconds", "How long a reconcile pass took, changes included.", m.took)
	e.labelled(counter, "mirrorcred_kubelet_restarts_total",
		"Attempts of this watcher to restart the kubelet, by result: restarted, not-attempted (it runs as before), rolled-back (it runs with its old configuration), failed.",
		"result", m.restarts)
}

// exposeStatus makes metrics of the status.
func exposeStatus(e *exposition, s Status) {
	value := func(value float64, name, help string) { e.metric(gauge, "mirrorcred_"+name, help, value) }
	truth := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}

	e.info("mirrorcred_build_info", "Always 1; the label is the version of mirrorcred.", "version", s.Version)
	value(truth(s.InSync), "in_sync", "1 if the node matches its map, else 0.")
	e.labelled(gauge, "mirrorcred_sources",
		"Sources by state: active, pending (waits for the kubelet), draining (removed, but running pulls may still use it), held (removed or without its credential, waits for a stable map), conflict (another program's file blocks it), failed (has its own fault, such as an invalid CA).",
		"state", map[string]float64{
			"active": float64(s.active()), "pending": float64(len(s.Pending)), "draining": float64(len(s.Draining)), "held": float64(len(s.Held)),
			"conflict": float64(s.ConflictingSources), "failed": float64(len(s.Faults)),
		})
	value(float64(len(s.Conflicts)), "conflicting_files", "Files not written by mirrorcred that block a mirror.")
	faults := map[string]float64{}
	for _, part := range node.Parts {
		faults[part] = truth(slices.Contains(s.FaultParts, part))
	}
	e.labelled(gauge, "mirrorcred_config_error",
		"1 if the map is not applied because of a fault in this part of the node: map, containerd, kubelet or disk.", "reason", faults)
	e.labelled(gauge, "mirrorcred_warnings",
		"Problems that make pulls fail although the node matches its map, by name.", "warning", s.warnings())
	value(truth(s.NeedsRestart), "kubelet_restart_required", "1 if a source waits for a restart of the kubelet, else 0.")
	value(truth(s.Loss != ""), "containerd_restart_unsafe", "1 if containerd reads the mirrors now but will not after its next start, else 0.")
	value(truth(s.Degraded == ""), "file_watching", "1 if file watching works, 0 if mirrorcred polls for some changes.")
	e.metric(counter, "mirrorcred_file_events_dropped_total", "How often the system dropped file events; a full pass follows each time.", float64(s.Dropped))
	value(seconds(s.LastReconcile), "last_reconcile_timestamp_seconds", "When the last reconcile pass began; 0 if never.")
	value(seconds(s.LastChange), "last_change_timestamp_seconds", "When the node was last changed; 0 if never.")
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Observe counts a reconcile.
func (m *Metrics) Observe(r Report) {
	result := "unchanged"
	switch {
	case r.Err != nil:
		result = "error"
	case r.BackingOff:
		result = "backoff"
	case len(r.Plan.Changes) > 0:
		result = "changed"
	case len(r.Plan.Held) > 0:
		result = "held"
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reconciles[result]++
	m.took.observe(r.Took.Seconds())
}
