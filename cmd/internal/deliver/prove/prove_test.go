package prove_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
)

const canary = "CANARY-OF-PROOF"

var right = credential.Secret("Basic " + base64.StdEncoding.EncodeToString([]byte("robot:"+canary)))

// A standIn is a registry on loopback that records who got the header.
type standIn struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // "path: authorization" of each request
}

func start(t *testing.T, serve func(s *standIn, w http.ResponseWriter, r *http.Request)) *standIn {
	t.Helper()
	s := &standIn{}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.URL.Path+": "+r.Header.Get("Authorization"))
		s.mu.Unlock()
		serve(s, w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *standIn) host() string { return strings.TrimPrefix(s.URL, "https://") }

// trusting returns the client of package client, which accepts the stand-ins.
func trusting(e hosts.Endpoint) (*http.Client, error) {
	e.SkipVerify = true
	return client.New(client.Files{}, e, nil)
}

func refuseWith(w http.ResponseWriter, status int, challenge string) {
	if challenge != "" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}`)
}

// takesBasic is a registry that accepts the header at /v2/.
func takesBasic(_ *standIn, w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != right.Reveal() {
		refuseWith(w, 401, `Basic realm="x"`)
	}
}

// wantsToken is a registry with a token service at an address, %s being its own
// host.
func wantsToken(realm string) func(*standIn, http.ResponseWriter, *http.Request) {
	return func(s *standIn, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token" && r.Header.Get("Authorization") == right.Reveal() && r.URL.Query().Get("service") == "reg":
			fmt.Fprint(w, `{"token":"t"}`)
		case r.URL.Path == "/token":
			refuseWith(w, 401, "")
		default:
			refuseWith(w, 401, `Bearer realm="`+strings.ReplaceAll(realm, "%s", s.host())+`",service="reg"`)
		}
	}
}

// imagesWant is a proxy that accepts the header at /v2/, and for images passes on the
// challenge of the registry behind it.
func imagesWant(realm string) func(*standIn, http.ResponseWriter, *http.Request) {
	return func(s *standIn, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v2/" {
			takesBasic(s, w, r)
			return
		}
		refuseWith(w, 401, `Bearer realm="`+strings.ReplaceAll(realm, "%s", s.host())+`",service="reg"`)
	}
}

func version(t *testing.T, text string) hosts.Version {
	t.Helper()
	v, err := hosts.ParseVersion(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestProve checks the verdict about each kind of registry, that nothing else than
// the registry's own answer decides it, and that no error has a part of the header.
func TestProve(t *testing.T) {
	type server = func(*standIn, http.ResponseWriter, *http.Request)
	always := func(status int, challenge string) server {
		return func(_ *standIn, w http.ResponseWriter, _ *http.Request) { refuseWith(w, status, challenge) }
	}
	for name, test := range map[string]struct {
		serve      server
		version    string // of containerd
		identity   bool
		want       prove.Proof
		fault      string // part of the refusal, "" for none
		credential bool   // the refusal is of the credential
	}{
		"basic":                       {serve: takesBasic, version: "1.7.35", want: prove.Proof{Certain: true}},
		"basic, unknown":              {serve: takesBasic, want: prove.Proof{Certain: true}},
		"basic, own realm for images": {serve: imagesWant("https://%s/token"), version: "2.4", want: prove.Proof{Certain: true}},
		"basic, the hub's for images": {serve: imagesWant("https://auth.docker.io/token"), version: "2.1.0", fault: "names the token service at auth.docker.io"},
		"no TLS for images":           {serve: imagesWant("http://%s/token"), version: "2.4", fault: "without TLS"},
		"no URL for images":           {serve: imagesWant("/token"), version: "2.4", want: prove.Proof{Certain: true}},
		"the same, unknown":           {serve: imagesWant("https://auth.docker.io/token"), fault: "names the token service at auth.docker.io"},
		"the same, 2.0":               {serve: imagesWant("https://auth.docker.io/token"), version: "2.0.14", want: prove.Proof{Certain: true}},
		"open to anybody":             {serve: func(*standIn, http.ResponseWriter, *http.Request) {}, want: prove.Proof{}},
		"token, 2.1":                  {serve: wantsToken("https://%s/token"), version: "2.1.0", want: prove.Proof{Certain: true, Realm: true}},
		"token, 2.0":                  {serve: wantsToken("https://%s/token"), version: "2.0.14", fault: "update containerd to 2.1"},
		"token, 1.7":                  {serve: wantsToken("https://%s/token"), version: "1.7.35", fault: "update containerd to 2.1"},
		"token, unknown":              {serve: wantsToken("https://%s/token"), fault: "version of containerd is not known"},
		"token without TLS":           {serve: wantsToken("http://%s/token"), version: "2.4", fault: "without TLS"},
		"token at no URL":             {serve: wantsToken("token"), version: "2.4", fault: "not a URL"},
		"token with a login":          {serve: wantsToken("https://u:p@%s/token"), version: "2.4", fault: "not a URL"},
		"token at the hub":            {serve: wantsToken("https://auth.docker.io/token"), version: "2.4", fault: `token_host = "auth.docker.io"`},
		"token refused":               {serve: wantsToken("https://%s/none"), version: "2.4", fault: "gives no token", credential: true},
		"refused, basic":              {serve: always(401, `Basic realm="x"`), version: "2.4", fault: "401 Unauthorized (UNAUTHORIZED)", credential: true},
		"refused, no kind":            {serve: always(401, ""), version: "2.4", fault: "names no token service", credential: true},
		"an Azure identity":           {serve: always(401, `Basic realm="x"`), version: "2.4", identity: true, fault: "leave deliver out there: a container registry of Azure", credential: true},
		"forbidden":                   {serve: always(403, ""), version: "2.4", fault: "403 Forbidden", credential: true},
		"not there":                   {serve: always(404, ""), version: "2.4", fault: "there is no registry at"},
		"moved":                       {serve: always(307, ""), version: "2.4", fault: "redirects"},
		"too many":                    {serve: always(429, ""), version: "2.4", fault: "429 Too Many Requests"},
		"broken":                      {serve: always(503, ""), version: "2.4", fault: "503 Service Unavailable"},
		"a web page":                  {serve: func(_ *standIn, w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") }, version: "2.4", fault: "web page"},
		"repeats the password":        {serve: always(401, `Bearer realm="https://`+canary+`.example/token"`), version: "2.4", fault: "[secret].example"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, test.serve)
			v := hosts.Version{}
			if test.version != "" {
				v = version(t, test.version)
			}
			p := prove.Prover{Client: trusting, Version: v}
			got, err := p.Prove(t.Context(), prove.Registry{Endpoint: hosts.Endpoint{Scheme: "https", Host: s.host(), Path: "/v2/hub"}, Identity: test.identity}, right)
			if test.fault == "" {
				if err != nil || got != test.want {
					t.Errorf("the proof is %+v, %v; want %+v", got, err, test.want)
				}
				return
			}
			var refusal *prove.Refusal
			if !errors.As(err, &refusal) || !strings.Contains(err.Error(), test.fault) || refusal.Credential != test.credential {
				t.Errorf("the error is %v (%+v); want a refusal with %q", err, refusal, test.fault)
			}
			if leads := strings.Contains(test.fault, "token service at") || strings.Contains(test.fault, "without TLS") || strings.Contains(test.fault, "token_host") || strings.Contains(test.fault, "[secret]"); refusal != nil && refusal.Elsewhere != leads {
				t.Errorf("it leads elsewhere: %t", refusal.Elsewhere)
			}
			if strings.Contains(fmt.Sprint(err), canary) || strings.Contains(fmt.Sprint(err), strings.TrimPrefix(right.Reveal(), "Basic ")) {
				t.Errorf("the error has the header: %v", err)
			}
		})
	}
}

// TestTokenHost checks that the header goes to the token service only if the map
// names its host, and nothing to it otherwise.
func TestTokenHost(t *testing.T) {
	service := start(t, wantsToken("unused"))
	for _, named := range []string{"", "other.example", service.host()} {
		service.seen = nil
		s := start(t, wantsToken("https://"+service.host()+"/token"))
		p := prove.Prover{Client: trusting, Version: version(t, "2.4.2")}
		got, err := p.Prove(t.Context(), prove.Registry{Endpoint: hosts.Endpoint{Scheme: "https", Host: s.host(), Path: "/v2"}, TokenHost: named}, right)
		if named == service.host() {
			if err != nil || got != (prove.Proof{Certain: true, Realm: true}) {
				t.Errorf("token_host %q: %+v, %v", named, got, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), "token_host") || len(service.seen) > 0 {
			t.Errorf("token_host %q: %v; the token service saw %q", named, err, service.seen)
		}
	}
}

// TestRedirect checks that a redirect is never followed, to the same name on another
// port neither, where an HTTP client would keep the header.
func TestRedirect(t *testing.T) {
	other := start(t, takesBasic)
	s := start(t, func(_ *standIn, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	_, err := prove.Prover{Client: trusting}.Prove(t.Context(), prove.Registry{Endpoint: hosts.Endpoint{Scheme: "https", Host: s.host(), Path: "/v2"}}, right)
	if err == nil || len(other.seen) > 0 {
		t.Errorf("a redirect: %v; the other host saw %q", err, other.seen)
	}
}

// TestOrder checks the requests of a proof: the header is never in the first.
func TestOrder(t *testing.T) {
	s := start(t, wantsToken("https://%s/token"))
	p := prove.Prover{Client: trusting, Version: version(t, "2.4.2")}
	e := hosts.Endpoint{Scheme: "https", Host: s.host(), Path: "/repository/hub/v2/prefix"}
	if _, err := p.Prove(t.Context(), prove.Registry{Endpoint: e}, right); err != nil {
		t.Fatal(err)
	}
	want := []string{"/repository/hub/v2/: ", "/repository/hub/v2/: " + right.Reveal(), "/token: " + right.Reveal(), "/token: "}
	if fmt.Sprint(s.seen) != fmt.Sprint(want) {
		t.Errorf("the requests are %q; want %q", s.seen, want)
	}
}

// TestStrayRealm checks the requests of a proof at a registry that accepts the header: an
// image is asked for below the target's prefix, and a token service only if the map
// names it.
func TestStrayRealm(t *testing.T) {
	service := start(t, wantsToken("unused"))
	s := start(t, imagesWant("https://"+service.host()+"/token"))
	p := prove.Prover{Client: trusting, Version: version(t, "2.4.2")}
	r := prove.Registry{Endpoint: hosts.Endpoint{Scheme: "https", Host: s.host(), Path: "/v2/hub"}}
	if _, err := p.Prove(t.Context(), r, right); err == nil || len(service.seen) > 0 {
		t.Errorf("the proof: %v; the token service saw %q", err, service.seen)
	}
	want := []string{"/v2/: ", "/v2/: " + right.Reveal(), "/v2/hub/mirrorcred/manifests/latest: " + right.Reveal()}
	if fmt.Sprint(s.seen) != fmt.Sprint(want) {
		t.Errorf("the requests are %q; want %q", s.seen, want)
	}
	r.TokenHost = service.host()
	if _, err := p.Prove(t.Context(), r, right); err != nil {
		t.Errorf("with token_host: %v", err)
	}
}

// TestRetryAfter checks that a registry that asks to be left alone is heard.
func TestRetryAfter(t *testing.T) {
	s := start(t, func(_ *standIn, w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "120")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	_, err := prove.Prover{Client: trusting}.Prove(t.Context(), prove.Registry{Endpoint: hosts.Endpoint{Scheme: "https", Host: s.host(), Path: "/v2"}}, right)
	var refusal *prove.Refusal
	if !errors.As(err, &refusal) || refusal.RetryAfter() != 2*time.Minute {
		t.Errorf("the error is %v", err)
	}
}

// TestUnreachable checks a registry that is not there, and one that never answers: the
// error is not a refusal, and has no address with a secret.
func TestUnreachable(t *testing.T) {
	hold := make(chan struct{})
	slow := start(t, func(_ *standIn, _ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	})
	gone := start(t, takesBasic)
	gone.Close()
	for _, host := range []string{slow.host(), gone.host()} {
		began := time.Now()
		_, err := prove.Prover{Client: trusting, Limit: 100 * time.Millisecond}.Prove(context.Background(), prove.Registry{Endpoint: hosts.Endpoint{Scheme: "https", Host: host, Path: "/v2"}}, right)
		var refusal *prove.Refusal
		if err == nil || errors.As(err, &refusal) || !strings.Contains(err.Error(), "cannot be asked") || time.Since(began) > 5*time.Second {
			t.Errorf("%s: %v after %s", host, err, time.Since(began))
		}
	}
	close(hold)
}
