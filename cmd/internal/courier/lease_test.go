package courier

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
	"github.com/mirrorcred/mirrorcred/cmd/internal/watch"
)

// A ledger is a cluster that notes what it is told.
type ledger struct {
	mu     sync.Mutex
	began  time.Time
	writes []Lease
	at     []time.Duration
	fails  error
	retry  time.Duration
}

func (l *ledger) WriteLease(_ context.Context, lease Lease, now time.Time) (time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.writes, l.at = append(l.writes, lease), append(l.at, now.Sub(l.began))
	return l.retry, l.fails
}

// take returns the writes since it was last called, and their times.
func (l *ledger) take() ([]Lease, []time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	writes, at := l.writes, l.at
	l.writes, l.at = nil, nil
	return writes, at
}

func (l *ledger) set(err error, retry time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fails, l.retry = err, retry
}

// reporting runs a reporter on a clock of the test's. become changes what it sees.
func reporting(t *testing.T, test func(l *ledger, become func(View))) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen := View{Unready: "not yet"}
		l := &ledger{began: time.Now()}
		r := Reporter{Node: "node-1", Self: Holder{"canary", "pod-a"}, Writer: l, Log: slog.New(slog.DiscardHandler), See: func(context.Context) View {
			mu.Lock()
			defer mu.Unlock()
			return seen
		}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.Run(ctx) }()
		test(l, func(v View) {
			mu.Lock()
			defer mu.Unlock()
			seen = v
		})
		cancel()
		<-done
	})
}

func viewOf(hash, unready string) View {
	return View{Status: watch.Status{MapHash: hash, Version: "1.2.3"}, Unready: unready}
}

// TestReport follows the Lease of a node through a day.
func TestReport(t *testing.T) {
	reporting(t, func(l *ledger, become func(View)) {
		time.Sleep(spread + pollInterval)
		if writes, _ := l.take(); len(writes) != 1 || writes[0].InSync || writes[0].Fault != "not yet" || writes[0].Node != "node-1" || writes[0].Ring != "canary" {
			t.Errorf("at first: %+v", writes)
		}
		become(viewOf("abc", ""))
		time.Sleep(2*spread + pollInterval)
		if writes, _ := l.take(); len(writes) != 1 || !writes[0].InSync || writes[0].Map != "abc" || writes[0].Version != "1.2.3" {
			t.Errorf("in sync: %+v", writes)
		}
		time.Sleep(24 * time.Hour)
		_, at := l.take()
		if n := len(at); n < 144 || n > 165 {
			t.Errorf("%d renewals in a day", n)
		}
		for i := 1; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap > duration/2 || gap < renewal*8/10 {
				t.Errorf("a renewal after %s", gap)
			}
		}
		// What changes back before it was written is not written, and many changes
		// are few writes.
		for range 100 {
			become(viewOf("def", "a fault"))
			time.Sleep(time.Second)
			become(viewOf("abc", "another fault"))
			time.Sleep(time.Second)
		}
		if writes, _ := l.take(); len(writes) > 8 || len(writes) == 0 {
			t.Errorf("%d writes for 200 changes", len(writes))
		}
		become(viewOf("abc", "first line\nsecond line"))
		time.Sleep(2*spread + 2*pollInterval)
		writes, _ := l.take()
		if len(writes) == 0 || writes[len(writes)-1].Fault != "first line" {
			t.Errorf("a fault of two lines: %+v", writes)
		}
	})
}

// TestReportFails has a cluster that is gone for a day, and one that asks to be
// left alone.
func TestReportFails(t *testing.T) {
	reporting(t, func(l *ledger, become func(View)) {
		l.set(errors.New("gone"), 0)
		time.Sleep(24 * time.Hour)
		if _, at := l.take(); len(at) > 300 || len(at) < 140 {
			t.Errorf("%d tries in a day", len(at))
		}
		l.set(errors.New("busy"), 8*time.Minute)
		time.Sleep(time.Hour)
		_, at := l.take()
		for i := 2; i < len(at); i++ {
			if gap := at[i] - at[i-1]; gap < 8*time.Minute {
				t.Errorf("a try after %s", gap)
			}
		}
		l.set(nil, 0)
		time.Sleep(mostRetry + pollInterval)
		if writes, _ := l.take(); len(writes) == 0 {
			t.Error("no write once it answers")
		}
	})
}

// TestReportSpread has a thousand nodes get a map at once: they do not all write
// at once.
func TestReportSpread(t *testing.T) {
	now := time.Unix(0, 0)
	counts := map[int]int{}
	for range 1000 {
		var p pace
		counts[int(p.wait(Lease{Map: "a"}, now)/time.Second)]++
	}
	for second, count := range counts {
		if count > 100 || second >= int(spread/time.Second) {
			t.Errorf("%d of 1000 writes in second %d", count, second)
		}
	}
}

func TestLeaseOf(t *testing.T) {
	l := leaseOf(viewOf("0123456789abcdef", strings.Repeat("ä", 200)), "n", Holder{"canary", "p"})
	if len(l.Fault) > mostFault+len("…") || !strings.HasSuffix(l.Fault, "ä…") {
		t.Errorf("a long fault is %q", l.Fault)
	}
	if want := "not-in-sync ring=canary map=0123456789ab version=1.2.3"; l.summary() != want {
		t.Errorf("the summary is %q; want %q", l.summary(), want)
	}
	if got := (Lease{Ring: "r", InSync: true}).summary(); got != "in-sync ring=r" {
		t.Errorf("the summary is %q", got)
	}
}

// An api is an API server with one Lease.
type api struct {
	mu     sync.Mutex
	token  string
	exists bool
	seen   []string
	lease  map[string]any
	code   int // to answer instead, 0 for none
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = append(a.seen, r.Method+" "+r.URL.Path)
	fail := func(code int) {
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]string{"kind": "Status", "message": "it says why"})
	}
	var body map[string]any
	data, _ := io.ReadAll(r.Body)
	switch err := json.Unmarshal(data, &body); {
	case err != nil:
		fail(400)
	case r.Header.Get("Authorization") != "Bearer "+a.token:
		fail(401)
	case a.code != 0:
		w.Header().Set("Retry-After", "7")
		fail(a.code)
	case r.Method == "PATCH" && r.Header.Get("Content-Type") != "application/merge-patch+json":
		fail(415)
	case r.Method == "PATCH" && !a.exists:
		fail(404)
	default:
		a.exists, a.lease = true, body
	}
}

// TestCluster writes Leases over TLS, as a pod does.
func TestCluster(t *testing.T) {
	a := &api{token: "one"}
	server := httptest.NewTLSServer(a)
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "namespace"), "mirrorcred\n")
	write(t, filepath.Join(dir, "token"), "one\n")
	write(t, filepath.Join(dir, "ca.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	env := map[string]string{"KUBERNETES_SERVICE_HOST": address.Hostname(), "KUBERNETES_SERVICE_PORT": address.Port()}
	c, err := NewCluster(func(name string) string { return env[name] }, dir, "")
	if err != nil || c.Namespace != "mirrorcred" {
		t.Fatal(c, err)
	}
	lease := Lease{Node: "node-1", Ring: "canary", Pod: "pod-a", Map: "abc", InSync: true, Version: "1.2.3"}
	now := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	wrote := func(want ...string) {
		t.Helper()
		if _, err := c.WriteLease(t.Context(), lease, now); err != nil {
			t.Fatal(err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if got := strings.Join(a.seen, ", "); got != strings.Join(want, ", ") {
			t.Errorf("the API saw %s; want %s", got, strings.Join(want, ", "))
		}
		a.seen = nil
	}
	const leases = "/apis/coordination.k8s.io/v1/namespaces/mirrorcred/leases"
	wrote("PATCH "+leases+"/node-1", "POST "+leases)
	text, _ := json.Marshal(a.lease)
	const want = `{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"annotations":{"mirrorcred.io/fault":"","mirrorcred.io/in-sync":"true","mirrorcred.io/map":"abc","mirrorcred.io/pod":"pod-a","mirrorcred.io/ring":"canary","mirrorcred.io/version":"1.2.3"},"labels":{"app.kubernetes.io/managed-by":"mirrorcred"},"name":"node-1","namespace":"mirrorcred"},"spec":{"holderIdentity":"in-sync ring=canary map=abc version=1.2.3","leaseDurationSeconds":1500,"renewTime":"2026-01-02T03:04:05.000006Z"}}`
	if string(text) != want {
		t.Errorf("the Lease is\n%s\nwant\n%s", text, want)
	}
	wrote("PATCH " + leases + "/node-1")
	if _, hasName := a.lease["metadata"].(map[string]any)["name"]; hasName {
		t.Error("a patch has a name")
	}
	// The token is replaced, as the kubelet does each hour.
	a.token = "c4n4ry"
	if _, err := c.WriteLease(t.Context(), lease, now); err == nil || !strings.Contains(err.Error(), "the API answers 401: it says why; give the service account") {
		t.Errorf("with an old token: %v", err)
	}
	write(t, filepath.Join(dir, "token"), "c4n4ry")
	a.seen = nil
	wrote("PATCH " + leases + "/node-1")

	a.code = 429
	if retry, err := c.WriteLease(t.Context(), lease, now); err == nil || retry != 7*time.Second || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("a busy API: %v, %v", retry, err)
	}
	// Another server than that of the CA gets no token.
	a.code, a.seen = 0, nil
	pair := tlstest.New(time.Now().Add(-time.Hour), time.Now().Add(time.Hour))
	write(t, filepath.Join(dir, "ca.crt"), string(pair.Cert))
	if _, err := c.WriteLease(t.Context(), lease, now); err == nil || len(a.seen) > 0 || strings.Contains(err.Error(), "c4n4ry") {
		t.Errorf("another CA: %v; it saw %q", err, a.seen)
	}
	write(t, filepath.Join(dir, "ca.crt"), "none")
	if _, err := c.WriteLease(t.Context(), lease, now); err == nil || !strings.Contains(err.Error(), "ca.crt has no certificate") {
		t.Errorf("no CA: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, "token")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteLease(t.Context(), lease, now); err == nil || !strings.Contains(err.Error(), "token does not exist; mount") {
		t.Errorf("no token: %v", err)
	}
	if _, err := NewCluster(func(string) string { return "" }, dir, ""); err == nil || !strings.Contains(err.Error(), "run this in a pod") {
		t.Errorf("outside of a cluster: %v", err)
	}
}
