package courier

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// TestHangUp has a client, which any pod may be, ask and hang up at once. The next one
// gets the host's answer, not the fault of the first.
func TestHangUp(t *testing.T) {
	h := newHost(t)
	c := New(Options{Map: "/no/such", Deliver: t.TempDir(), Host: watch.Client{Socket: h.socket}, Log: slog.New(slog.DiscardHandler)})
	gone, hangUp := context.WithCancel(t.Context())
	hangUp()
	c.View(gone)
	if v := c.View(t.Context()); v.Status.Version != "1.2.3" {
		t.Errorf("the host's status is %+v", v.Status)
	}
}

// A slowWriter is a client that reads nothing until it is told to.
type slowWriter struct {
	*httptest.ResponseRecorder
	began, read chan struct{}
}

func (w slowWriter) Write(p []byte) (int, error) {
	close(w.began)
	<-w.read
	return w.ResponseRecorder.Write(p)
}

// TestSlowScrape has a client read the metrics slowly. Others get theirs meanwhile.
func TestSlowScrape(t *testing.T) {
	h := newHost(t)
	handler := New(Options{Map: "/no/such", Deliver: t.TempDir(), Host: watch.Client{Socket: h.socket}, Log: slog.New(slog.DiscardHandler)}).handler()
	slow := slowWriter{httptest.NewRecorder(), make(chan struct{}), make(chan struct{})}
	ended, other := make(chan struct{}), make(chan int, 1)
	go func() {
		defer close(ended)
		handler.ServeHTTP(slow, httptest.NewRequest("GET", "/metrics", nil))
	}()
	<-slow.began
	go func() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		other <- w.Code
	}()
	select {
	case code := <-other:
		if code != 200 {
			t.Errorf("the other client gets %d", code)
		}
	case <-time.After(20 * time.Second):
		t.Error("the other client waits for the slow one")
	}
	close(slow.read)
	<-ended
}
