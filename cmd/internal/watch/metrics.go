package watch

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
)

// Metrics are a watcher's metrics for Prometheus.
type Metrics struct {
	registry   *prometheus.Registry
	reconciles *prometheus.CounterVec
	took       prometheus.Histogram
}

// results are the results of a reconcile.
var results = []string{"unchanged", "changed", "held", "backoff", "error"}

// NewMetrics returns metrics that read their gauges from the status. logFile returns
// the path of the plugin's log for an audit_log of the map, "" if it is no file.
func NewMetrics(b *StatusStore, logFile func(auditLog string) string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		reconciles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mirrorcred_reconciles_total",
			Help: "Reconcile passes by result: unchanged, changed, held (a removal waits for a stable map), backoff (another program keeps reverting files), error.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mirrorcred_reconcile_duration_seconds",
			Help:    "How long a reconcile pass took, changes included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
		}),
	}
	for _, result := range results {
		m.reconciles.WithLabelValues(result) // a rate needs the initial 0
	}
	started := b.Status().Started
	m.registry.MustRegister(m.reconciles, m.took, statusCollector{b},
		newPluginRuns(started, func() string { return logFile(b.AuditLog()) }),
		collectors.NewGoCollector(), ownProcess{collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})})
	return m
}

// ownProcess is the process collector without its network metrics, which cover
// the whole host.
type ownProcess struct{ prometheus.Collector }

// Collect implements [prometheus.Collector].
func (c ownProcess) Collect(ch chan<- prometheus.Metric) {
	all := make(chan prometheus.Metric)
	go func() {
		defer close(all)
		c.Collector.Collect(all)
	}()
	for m := range all {
		if !strings.Contains(m.Desc().String(), "process_network_") {
			ch <- m
		}
	}
}

// A statusCollector makes metrics of the status.
type statusCollector struct{ store *StatusStore }

// Describe implements [prometheus.Collector]: the labels depend on the map.
func (statusCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (c statusCollector) Collect(ch chan<- prometheus.Metric) {
	s := c.store.Status()
	emit := func(kind prometheus.ValueType, value float64, name, help string, labels prometheus.Labels) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc("mirrorcred_"+name, help, nil, labels), kind, value)
	}
	gauge := func(value float64, name, help string) { emit(prometheus.GaugeValue, value, name, help, nil) }
	truth := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}

	emit(prometheus.GaugeValue, 1, "build_info", "Always 1; the label is the version of mirrorcred.", prometheus.Labels{"version": s.Version})
	if s.Generation != "" {
		emit(prometheus.GaugeValue, 1, "plan_generation_info", "Always 1; the label identifies the map of the last plan, and is the same on each node with that map.", prometheus.Labels{"generation": s.Generation})
	}
	gauge(truth(s.InSync), "in_sync", "1 if the node matches its map, else 0.")
	for _, state := range []struct {
		name  string
		count int
	}{
		{"active", s.Active()}, {"pending", len(s.Pending)}, {"draining", len(s.Draining)}, {"held", len(s.Held)},
		{"conflict", s.ConflictingSources}, {"failed", len(s.Faults)},
	} {
		emit(prometheus.GaugeValue, float64(state.count), "sources",
			"Sources by state: active, pending (waits for the kubelet), draining (removed, but running pulls may still use it), held (removed, waits for a stable map), conflict (another program's file blocks it), failed (has its own fault, such as an invalid CA).",
			prometheus.Labels{"state": state.name})
	}
	gauge(float64(len(s.Conflicts)), "conflicting_files", "Files not written by mirrorcred that block a mirror.")
	for _, part := range node.Parts {
		emit(prometheus.GaugeValue, truth(slices.Contains(s.FaultParts, part)), "config_error",
			"1 if the map is not applied because of a fault in this part of the node: map, containerd, kubelet or disk.",
			prometheus.Labels{"reason": part})
	}
	for name, count := range s.warnings() {
		emit(prometheus.GaugeValue, float64(count), "warnings", "Problems that make pulls fail although the node matches its map, by name.", prometheus.Labels{"warning": name})
	}
	gauge(truth(s.NeedsRestart), "kubelet_restart_required", "1 if a source waits for a restart of the kubelet, else 0.")
	gauge(truth(s.Loss != ""), "containerd_restart_unsafe", "1 if containerd reads the mirrors now but will not after its next start, else 0.")
	gauge(truth(s.Degraded == ""), "file_watching", "1 if file watching works, 0 if mirrorcred polls for some changes.")
	emit(prometheus.CounterValue, float64(s.Dropped), "file_events_dropped_total", "How often the system dropped file events; a full pass follows each time.", nil)
	gauge(seconds(s.LastReconcile), "last_reconcile_timestamp_seconds", "When the last reconcile pass began; 0 if never.")
	gauge(seconds(s.LastChange), "last_change_timestamp_seconds", "When the node was last changed; 0 if never.")
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
	m.reconciles.WithLabelValues(result).Inc()
	m.took.Observe(r.Took.Seconds())
}
