package watch

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"
)

// A Server serves a watcher's status, metrics and events by HTTP.
type Server struct {
	Store   *StatusStore
	Metrics *Metrics
	// Late is how long ago the last reconcile may have begun in a healthy watcher.
	Late time.Duration
	// Log returns the path of the plugin's log, "" if it is not a file.
	Log func() string
}

// ServeMetrics serves /metrics and /healthz on a listener until ctx ends.
func (s Server) ServeMetrics(ctx context.Context, listener net.Listener) error {
	return Serve(ctx, listener, &http.Server{Handler: s.metricsHandler(), ReadTimeout: patience, WriteTimeout: patience})
}

// ServeSocket serves /status, /metrics and /events on a listener that only root
// can reach, until ctx ends.
func (s Server) ServeSocket(ctx context.Context, listener net.Listener) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(s.Store.Status()) // the reader may have hung up
	})
	mux.Handle("GET /metrics", s.metricsHandler())
	mux.Handle("GET /events", eventStream{ctx, s.Log, make(chan struct{}, mostFollowers)})
	// Not ReadTimeout, after which a stream of events would be taken for abandoned.
	return Serve(ctx, listener, &http.Server{Handler: mux, ReadHeaderTimeout: patience, WriteTimeout: patience})
}

// metricsHandler answers /metrics and /healthz. The watcher is healthy if it
// reconciles as often as it should.
func (s Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write(s.Metrics.expose())
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		status := s.Store.Status()
		last := status.LastReconcile
		if last.IsZero() {
			last = status.Started
		}
		if time.Since(last) > s.Late {
			http.Error(w, "the last reconcile began at "+last.Format(time.RFC3339)+", longer ago than "+s.Late.String(), http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n" + status.Line() + "\n"))
	})
	return mux
}

// patience is how long a client may take to send its request, or to read a part
// of the answer.
const patience = 5 * time.Second

// Serve serves until ctx ends, a few connections at once.
func Serve(ctx context.Context, listener net.Listener, server *http.Server) error {
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(newFewListener(patientListener{listener, ctx}, mostScrapes)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shortage is how long to accept no connection if the machine is short of
// something.
const shortage = 100 * time.Millisecond

// A patientListener waits while the machine is short of something.
type patientListener struct {
	net.Listener
	ctx context.Context // of the server
}

// Accept waits for the next connection.
func (l patientListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err == nil || !isShortage(err) {
			return conn, err
		}
		select {
		case <-l.ctx.Done():
			return nil, err
		case <-time.After(shortage):
		}
	}
}
