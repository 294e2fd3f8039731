package courier

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// Serve serves /readyz, /healthz and /metrics on a listener until ctx ends. Other
// pods can reach it: it says what status says, and takes no input.
func (c *Courier) Serve(ctx context.Context, listener net.Listener) error {
	return watch.Serve(ctx, listener, &http.Server{Handler: c.handler(), ReadTimeout: patience, WriteTimeout: patience + answerTime, IdleTimeout: time.Minute})
}

const (
	// patience is how long a client may take to send its request.
	patience = 5 * time.Second
	// answerTime is how long the host may take to answer.
	answerTime = 5 * time.Second
)

func (c *Courier) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		answer(w, c.View(r.Context()).Unready)
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fault := ""
		if since := time.Since(c.current().turned); since > late {
			fault = "the courier last looked at its map " + since.Round(time.Second).String() + " ago"
		}
		answer(w, fault)
	})
	var one sync.Mutex // the host is asked by one scrape at a time
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		var text bytes.Buffer
		one.Lock()
		err := c.o.Host.Metrics(r.Context(), &text)
		one.Unlock() // before it is sent: the client may read slowly
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_, _ = w.Write(text.Bytes())
	})
	return mux
}

// answer answers a probe.
func answer(w http.ResponseWriter, fault string) {
	if fault != "" {
		http.Error(w, fault, http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}
