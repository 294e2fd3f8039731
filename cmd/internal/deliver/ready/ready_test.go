package ready

import (
	"context"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// registry answers each request with a status, and counts them.
func registry(t *testing.T, status *atomic.Int64, more func(w http.ResponseWriter, r *http.Request)) (s *httptest.Server, asked *atomic.Int64) {
	asked = new(atomic.Int64)
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/v2/" || r.Method != http.MethodGet {
			t.Errorf("%s %s; want GET /v2/", r.Method, r.URL.Path)
		}
		if more != nil {
			more(w, r)
		}
		w.WriteHeader(int(status.Load()))
	}))
	t.Cleanup(s.Close)
	return s, asked
}

func mirrors(t *testing.T, text string) []Want {
	t.Helper()
	m, err := mirror.ParseClosed("map", []byte("version = 1\n"+text))
	if err != nil {
		t.Fatal(err)
	}
	return Wanted(m.Mirrors)
}

func one(source, target, more string) string {
	return fmt.Sprintf("[[mirror]]\nsource = %q\ntargets = [%q, \"mirror.corp\"]\nready = \"60s\"\n%s", source, target, more)
}

// TestAsk holds which answers are a registry's.
func TestAsk(t *testing.T) {
	var status atomic.Int64
	s, _ := registry(t, &status, func(w http.ResponseWriter, r *http.Request) {
		if status.Load() == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
	})
	want := mirrors(t, one("docker.io", s.URL+"/v2/hub", ""))[0]
	for code, ready := range map[int64]bool{200: true, 401: true, 403: true, 201: false, 302: false, 404: false, 429: false, 500: false, 502: false, 503: false} {
		status.Store(code)
		err := request(t.Context(), want.Endpoint, Options{})
		if (err == nil) != ready {
			t.Errorf("a registry that answers %d: Ask = %v; want ready %t", code, err, ready)
		}
		if err != nil && !strings.Contains(err.Error(), fmt.Sprint(code)) {
			t.Errorf("the reason %q does not name %d", err, code)
		}
	}
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>sign in</html>") }))
	defer page.Close()
	if err := request(t.Context(), mirrors(t, one("docker.io", page.URL, ""))[0].Endpoint, Options{}); err == nil {
		t.Error("a web page is taken for a registry")
	}
	s.Close()
	if err := request(t.Context(), want.Endpoint, Options{}); err == nil || strings.Contains(err.Error(), "/v2/") {
		t.Errorf("nothing listens, and Ask = %v; want the reason without the address", err)
	}
}

// TestAskSlow holds that a registry which does not answer does not hold up the others
// for long.
func TestAskSlow(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	err := request(t.Context(), mirrors(t, one("docker.io", s.URL, ""))[0].Endpoint, Options{Limit: 50 * time.Millisecond})
	if err == nil || err.Error() != "no answer within 50ms" {
		t.Errorf("Ask = %v; want the time", err)
	}
}

// TestAskTLS holds that the TLS settings of the registry count, and that no secret is
// sent: neither a header that may be one, nor one from a file.
func TestAskTLS(t *testing.T) {
	var got http.Header
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer s.Close()
	host := strings.TrimPrefix(s.URL, "https://")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(settings string) error {
		table := fmt.Sprintf("[registry.%q]\n%s", host, settings)
		return request(t.Context(), mirrors(t, one("docker.io", host, table))[0].Endpoint, Options{})
	}
	if err := ask(""); err == nil {
		t.Error("a certificate of an unknown CA is accepted")
	}
	if err := ask("skip_verify = true\n"); err != nil {
		t.Errorf("with skip_verify: %v", err)
	}
	headers := "header = { X-Forwarded-For = \"docker.io\", Authorization = \"Basic CANARY1\", X-Token = { file = \"/CANARY2\" }, X-Api-Key = \"CANARY3\" }\n"
	if err := ask(fmt.Sprintf("ca = %q\n%s", ca, headers)); err != nil {
		t.Errorf("with ca: %v", err)
	}
	if got.Get("X-Forwarded-For") != "docker.io" || strings.Contains(fmt.Sprint(got), "CANARY") {
		t.Errorf("the request has the headers %v; want no secret", got)
	}
}

// TestOnce holds that a registry is asked once for all its mirrors, that each has its
// answer left, and that what has answered is not asked again.
func TestOnce(t *testing.T) {
	var up, down atomic.Int64
	up.Store(401)
	down.Store(503)
	a, askedA := registry(t, &up, nil)
	b, askedB := registry(t, &down, nil)
	wants := mirrors(t, one("docker.io", a.URL, "")+one("quay.io", a.URL+"/v2/quay", "")+one("ghcr.io", b.URL, "")+
		"[[mirror]]\nsource = \"gcr.io\"\ntargets = [\"mirror.corp\"]\n")
	root := t.TempDir()
	left := Once(t.Context(), wants, Options{Root: root})
	if len(wants) != 3 || len(left) != 1 || left[0].Source != "ghcr.io" || askedA.Load() != 1 || askedB.Load() != 1 {
		t.Errorf("of %d mirrors %+v are left, and the registries were asked %d and %d times", len(wants), left, askedA.Load(), askedB.Load())
	}
	for _, w := range wants[:2] {
		info, err := os.Stat(filepath.Join(root, plan.ReadyDir, w.Key+".ready"))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", w.Source, info, err)
		}
	}
	down.Store(200)
	if left = Once(t.Context(), wants, Options{Root: root}); len(left) != 0 || askedA.Load() != 1 || askedB.Load() != 2 {
		t.Errorf("then %+v are left, and the registries were asked %d and %d times", left, askedA.Load(), askedB.Load())
	}
}

// TestOnceNoRoom holds that an answer does not count if it cannot be left.
func TestOnceNoRoom(t *testing.T) {
	var up atomic.Int64
	up.Store(200)
	s, _ := registry(t, &up, nil)
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "run"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if left := Once(t.Context(), mirrors(t, one("docker.io", s.URL, "")), Options{Root: root}); len(left) != 1 {
		t.Errorf("left is %v; want the mirror", left)
	}
}

// TestRun holds that a registry that comes up late is noticed, that each new reason is
// logged once, and that Run ends.
func TestRun(t *testing.T) {
	var status atomic.Int64
	status.Store(404)
	asked := make(chan struct{}, 16)
	s, _ := registry(t, &status, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	var log strings.Builder
	o := Options{Root: t.TempDir(), Log: slog.New(slog.NewTextHandler(&log, nil))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Run(t.Context(), mirrors(t, one("docker.io", s.URL, "")), o)
	}()
	<-asked
	<-asked
	status.Store(200)
	<-done
	if text := log.String(); strings.Count(text, "mirror not ready yet") != 1 || strings.Count(text, "mirror ready") != 1 || !strings.Contains(text, "404") {
		t.Errorf("the log is\n%s", text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Run(ctx, []Want{{Key: "k", Endpoint: hosts.Endpoint{Scheme: "http", Host: "127.0.0.1:1", Path: "/v2"}}}, o)
}
