// Package prove asks a registry whether containerd could pull there with an
// Authorization header from hosts.toml.
//
// It asks as containerd does: with the same client, the same headers and the same token
// exchange. It follows no redirect, and sends the header to the registry's own host,
// and to the token service that the map names for it, and to no other. It does not
// know where the header comes from, and writes nothing. No error has a part of the
// header. Start at [Prover.Prove].
package prove

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A Registry is one that is to accept a header.
type Registry struct {
	// Endpoint is the registry as containerd dials it, with the other headers that it
	// sends there.
	Endpoint hosts.Endpoint
	// TokenHost is the host of its token service, "" if that is its own host.
	TokenHost string
	// Identity says that the header is made from an Azure identity's token.
	Identity bool
}

// A Proof is what a registry's answers show.
type Proof struct {
	// Certain says that the registry accepts the header and refuses a request without
	// it.
	Certain bool
	// Realm says that the registry has its clients get a token for the header.
	Realm bool
}

// A Refusal is an answer that makes the header useless there.
type Refusal struct {
	text string
	// Credential says that the registry refuses the credential itself. Otherwise its
	// answer shows nothing about the credential.
	Credential bool
	// Elsewhere says that containerd would show the header to another host, or send it
	// without TLS, whatever the header is.
	Elsewhere bool
	after     time.Duration
}

// Error says what the registry answered and what to do.
func (r *Refusal) Error() string { return r.text }

// RetryAfter returns how long the registry asked to be left alone, 0 if it did not.
func (r *Refusal) RetryAfter() time.Duration { return r.after }

// A Prover asks registries.
type Prover struct {
	// Client returns the client that containerd would use.
	Client func(hosts.Endpoint) (*http.Client, error)
	// Version is that of the containerd that pulls; the zero Version if unknown.
	Version hosts.Version
	// Limit is how long one request may take; 0 means 10 seconds.
	Limit time.Duration
}

// Prove asks a registry first without the header and then with it. A registry that
// accepts the first request proves nothing. The error is a [*Refusal] if the registry
// answered, and otherwise says why it did not.
func (p Prover) Prove(ctx context.Context, r Registry, authorization credential.Secret) (Proof, error) {
	c, err := p.Client(r.Endpoint)
	if err != nil {
		return Proof{}, err
	}
	defer c.CloseIdleConnections()
	q := question{Registry: r, client: c, version: p.Version, limit: cmp.Or(p.Limit, 10*time.Second), authorization: authorization}
	proof, err := q.prove(ctx)
	return proof, q.masked(err)
}

// A question is what to ask one registry.
type question struct {
	Registry
	client        *http.Client
	version       hosts.Version
	limit         time.Duration
	authorization credential.Secret
}

func (q question) prove(ctx context.Context) (Proof, error) {
	api := client.API(q.Endpoint)
	without, err := q.ask(ctx, http.MethodGet, api, "")
	if err != nil {
		return Proof{}, err
	}
	with, err := q.ask(ctx, http.MethodGet, api, q.authorization)
	if err != nil {
		return Proof{}, err
	}
	switch {
	case with.status == http.StatusOK && strings.HasPrefix(with.header.Get("Content-Type"), "text/html"):
		return Proof{}, q.refuse(with, "it answers with a web page, so there is no registry at "+api+"; correct the target in the map")
	case with.status == http.StatusOK:
		if err := q.strayRealm(ctx); err != nil {
			return Proof{}, err
		}
		return Proof{Certain: without.status == http.StatusUnauthorized || without.status == http.StatusForbidden}, nil
	case with.status == http.StatusUnauthorized:
		return q.challenged(ctx, with)
	}
	return Proof{}, q.notARegistry(with, api)
}

// notARegistry returns the refusal for an answer that is neither yes nor a challenge.
func (q question) notARegistry(a answer, api string) error {
	said := "it answers " + a.String()
	switch {
	case a.status == http.StatusForbidden:
		r := q.refuse(a, said+" to the credential; check that the credential has not expired and may pull there")
		r.Credential = true
		return r
	case a.status == http.StatusTooManyRequests, a.status >= 500:
		return q.refuse(a, said+", and is asked again; see the registry's own log if that stays so")
	case a.status >= 300 && a.status < 400:
		return q.refuse(a, said+" and redirects "+api+", where a credential must not follow; write the address that it leads to as the target")
	}
	return q.refuse(a, said+", so there is no registry at "+api+"; correct the target in the map")
}

// challenged judges a registry that does not accept the header by itself: it may send
// its clients to a token service.
func (q question) challenged(ctx context.Context, a answer) (Proof, error) {
	c, ok := bearer(a.header)
	if !ok {
		fix := "correct the credential, or leave deliver out there if the registry takes it at its token service only"
		if q.Identity {
			fix = "leave deliver out there: a container registry of Azure takes the token of an identity at its token service only"
		}
		r := q.refuse(a, "it answers "+a.String()+" to the credential, and names no token service; "+fix)
		r.Credential = true
		return Proof{}, r
	}
	realm, err := q.realm(a, c)
	if err != nil {
		return Proof{}, err
	}
	got, err := q.ask(ctx, http.MethodGet, realm, q.authorization)
	if err != nil {
		return Proof{}, fmt.Errorf("its token service: %w", err)
	}
	if got.status != http.StatusOK || !got.hasToken() {
		r := q.refuse(got, "its token service answers "+got.String()+" and gives no token for the credential; correct the credential, or leave deliver out there")
		r.Credential = got.status == http.StatusUnauthorized || got.status == http.StatusForbidden
		return Proof{}, r
	}
	anybody, err := q.ask(ctx, http.MethodGet, realm, "")
	if err != nil {
		return Proof{}, fmt.Errorf("its token service: %w", err)
	}
	return Proof{Realm: true, Certain: anybody.status != http.StatusOK || !anybody.hasToken()}, nil
}

func (q question) refuse(a answer, text string) *Refusal {
	return &Refusal{text: text, after: retryAfter(a.header)}
}

// masked replaces what a registry could have made an error repeat of the header.
func (q question) masked(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, secret := range q.secrets() {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	var r *Refusal
	if errors.As(err, &r) {
		masked := *r
		masked.text = text
		return &masked
	}
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// secrets returns the forms of the header's secret, the longest first.
func (q question) secrets() []string {
	whole := q.authorization.Reveal()
	_, token, _ := strings.Cut(whole, " ")
	list := []string{whole, token}
	if plain, err := base64.StdEncoding.DecodeString(token); err == nil {
		_, password, _ := strings.Cut(string(plain), ":")
		list = append(list, string(plain), password)
	}
	var long []string
	for _, s := range list {
		if len(s) >= 4 {
			long = append(long, s)
		}
	}
	return long
}

// An answer is the useful part of a response.
type answer struct {
	status int
	header http.Header
	body   []byte // its beginning
}

// ask sends one request with the headers of hosts.toml.
func (q question) ask(ctx context.Context, method, address string, authorization credential.Secret) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, q.limit, fmt.Errorf("no answer in %s", q.limit))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return answer{}, errors.New("its address cannot be requested; correct the target in the map")
	}
	for name, values := range q.Endpoint.Header {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization.Reveal())
	}
	response, err := q.client.Do(r)
	if err != nil {
		return answer{}, unreached(ctx, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return answer{}, unreached(ctx, err)
	}
	return answer{response.StatusCode, response.Header, body}, nil
}

// maxBody bounds what is read of an answer. A token is some KiB.
const maxBody = 64 << 10

// hasToken reports whether a token service gave a token, as containerd reads it
// (core/remotes/docker/auth/fetch.go, v2.4.2, FetchToken).
func (a answer) hasToken() bool {
	var body struct {
		Token  string `json:"token"`
		Access string `json:"access_token"`
	}
	return json.Unmarshal(a.body, &body) == nil && body.Token+body.Access != ""
}

// errorCode matches the codes of the distribution specification.
var errorCode = regexp.MustCompile(`^[A-Z_]{1,40}$`)

// String returns the status, with the registry's code for the error if it has one.
// Nothing else of the body: a registry may repeat the header there.
func (a answer) String() string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", a.status, http.StatusText(a.status)))
	var body struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(a.body, &body) == nil && len(body.Errors) > 0 && errorCode.MatchString(body.Errors[0].Code) {
		text += " (" + body.Errors[0].Code + ")"
	}
	return text
}

// retryAfter reads the header of that name, in seconds or as a date.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return time.Duration(min(n, 24*60*60)) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}
