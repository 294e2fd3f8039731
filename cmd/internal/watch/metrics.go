package watch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are a watcher's figures for Prometheus.
type Metrics struct {
	registry *prometheus.Registry
	looks    *prometheus.CounterVec
	took     prometheus.Histogram
}

// NewMetrics returns metrics that read the gauges from a board.
func NewMetrics(b *Board) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		looks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mirrorcred_looks_total",
			Help: "Times that the node was compared with its map, by result: unchanged, changed, held, fought, error.",
		}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "mirrorcred_look_duration_seconds",
			Help:    "How long it took to compare the node with its map and to change it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 7),
		}),
	}
	for _, result := range []string{"unchanged", "changed", "held", "fought", "error"} {
		m.looks.WithLabelValues(result) // a rate needs the 0 that it began with
	}
	gauge := func(name, help string, read func(Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return read(b.Status()) })
	}
	truth := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	m.registry.MustRegister(m.looks, m.took,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mirrorcred_build_info", Help: "1; the version is in the label.",
			ConstLabels: prometheus.Labels{"version": b.Status().Version},
		}, func() float64 { return 1 }),
		gauge("mirrorcred_in_step", "1 where the node is as its map says, else 0.", func(s Status) float64 { return truth(s.InStep) }),
		gauge("mirrorcred_fault", "1 where the map is not applied because of a fault, else 0.", func(s Status) float64 { return truth(s.Fault != "") }),
		gauge("mirrorcred_sources", "Sources in the map.", func(s Status) float64 { return float64(s.Sources) }),
		gauge("mirrorcred_sources_pending", "Sources that wait for the kubelet.", func(s Status) float64 { return float64(len(s.Pending)) }),
		gauge("mirrorcred_sources_draining", "Removed sources whose last pulls may still come.", func(s Status) float64 { return float64(len(s.Draining)) }),
		gauge("mirrorcred_files_left", "Files that the map wants and that are not ours.", func(s Status) float64 { return float64(len(s.Left)) }),
		gauge("mirrorcred_file_events", "1 where all changes of files are noticed at once, 0 where some are at the next tick.", func(s Status) float64 { return truth(s.Deaf == "") }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "mirrorcred_file_events_losses_total", Help: "Times that events of files were lost, after which everything was looked at.",
		}, func() float64 { return float64(b.Status().Losses) }),
		gauge("mirrorcred_last_look_timestamp_seconds", "When the node was last compared with its map.", func(s Status) float64 { return seconds(s.Looked) }),
		gauge("mirrorcred_last_change_timestamp_seconds", "When the node was last changed; 0 where it was not.", func(s Status) float64 { return seconds(s.Changed) }),
	)
	return m
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Observe counts the outcome of a look.
func (m *Metrics) Observe(r Report) {
	result := "unchanged"
	switch {
	case r.Err != nil:
		result = "error"
	case r.Fights:
		result = "fought"
	case len(r.Plan.Changes) > 0:
		result = "changed"
	case len(r.Plan.Held) > 0:
		result = "held"
	}
	m.looks.WithLabelValues(result).Inc()
	m.took.Observe(r.Took.Seconds())
}

// Serve serves /metrics and /healthz on a listener until ctx ends.
func (m *Metrics) Serve(ctx context.Context, listener net.Listener, b *Board, late time.Duration) error {
	server := &http.Server{Handler: m.handler(b, late), ReadTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// handler answers /metrics and /healthz. Health is that the watcher looks at
// the node as often as it should.
func (m *Metrics) handler(b *Board, late time.Duration) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		s := b.Status()
		last := s.Looked
		if last.IsZero() {
			last = s.Started
		}
		if since := time.Since(last); since > late {
			http.Error(w, "the node was not looked at for "+since.Round(time.Second).String(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n" + s.Line() + "\n"))
	})
	return mux
}
