package probe

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/provider"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// A question is what to ask one registry.
type question struct {
	aim
	endpoint hosts.Endpoint
	where    string
	login    login
	client   *http.Client
	limit    time.Duration
}

// maxSkew is how far a clock may be off: Azure and others refuse tokens then.
const maxSkew = 5 * time.Minute

// An answer is the useful part of a response.
type answer struct {
	status     int
	header     http.Header
	body       string // its beginning
	challenges []challenge
}

func oneLine(text string) string { return provider.OneLine(text) }

func (q question) finding(name, text, repair string) []doctor.Finding {
	return []doctor.Finding{{Name: name, Where: q.where, Text: text, Repair: repair}}
}

// address returns the URL to request: the manifest's, or the API's.
func (q question) address() (method, address string) {
	if !q.known {
		return http.MethodGet, client.API(q.endpoint)
	}
	address = q.endpoint.Scheme + "://" + q.endpoint.Host + path.Join("/", q.endpoint.Path, q.image.Repository(), "manifests", q.reference())
	if q.image.Host() != q.endpoint.Host { // containerd says which registry is meant
		address += "?ns=" + q.image.Host()
	}
	return http.MethodHead, address
}

func (q question) reference() string {
	rest := strings.TrimPrefix(q.image.String(), q.image.Name())
	if _, digest, ok := strings.Cut(rest, "@"); ok {
		return digest
	}
	if rest != "" {
		return strings.TrimPrefix(rest, ":")
	}
	return "latest"
}

// ask asks without a credential, and then with it if the registry wants one.
func (q question) ask(ctx context.Context) []doctor.Finding {
	method, address := q.address()
	first, err := q.send(ctx, method, address, "")
	if err != nil {
		return []doctor.Finding{judgeFailure(q.where, err, time.Now())}
	}
	found := q.clock(first)
	if first.status == http.StatusOK {
		found = append(found, q.redirects(ctx, "")...)
	}
	switch {
	case first.status == http.StatusUnauthorized && q.login.Anonymous():
		return append(found, q.anonymous(ctx, method, address, first)...)
	case first.status == http.StatusUnauthorized:
		return append(found, q.withLogin(ctx, method, address, first)...)
	}
	return append(found, q.judge(ctx, first, address, "")...)
}

// anonymous goes on without a credential: a registry may want a token even for anonymous
// pulls.
func (q question) anonymous(ctx context.Context, method, address string, first answer) []doctor.Finding {
	needs := q.finding(doctor.ProbeNeedsCredential, "it wants a login, and the map names no credential for it", "set credential under [registry] for it in the map")
	if q.holdsCredential() {
		needs = q.unauthorized("it refuses " + q.as())
	}
	c, ok := pick(first.challenges, "bearer")
	if !ok {
		return needs
	}
	token, refusal, err := q.token(ctx, c, q.scopes(c))
	switch {
	case err != nil:
		return []doctor.Finding{judgeFailure(q.where, err, time.Now())}
	case refusal != nil && refusal.name != "":
		return q.finding(refusal.name, refusal.text, refusal.repair)
	case refusal != nil:
		return needs
	}
	second, err := q.send(ctx, method, address, "Bearer "+token)
	if err != nil {
		return []doctor.Finding{judgeFailure(q.where, err, time.Now())}
	}
	if second.status == http.StatusUnauthorized || second.status == http.StatusForbidden {
		return needs
	}
	return append(q.judge(ctx, second, address, "Bearer "+token), q.redirects(ctx, "Bearer "+token)...)
}

// withLogin asks with the credential, as the registry wants it.
func (q question) withLogin(ctx context.Context, method, address string, first answer) []doctor.Finding {
	authorization := "Basic " + base64.StdEncoding.EncodeToString([]byte(q.login.Username+":"+q.login.Password.Reveal()))
	if c, ok := pick(first.challenges, "bearer"); ok {
		token, refusal, err := q.token(ctx, c, q.scopes(c))
		if err != nil {
			return []doctor.Finding{judgeFailure(q.where, err, time.Now())}
		}
		if refusal != nil {
			return q.refused(ctx, c, *refusal)
		}
		authorization = "Bearer " + token
	} else if _, ok := pick(first.challenges, "basic"); !ok {
		return q.finding(doctor.ProbeNotARegistry, "it wants a login but does not say which kind (no Www-Authenticate that containerd knows)", "check the target in the map: is this a registry?")
	}
	second, err := q.send(ctx, method, address, authorization)
	if err != nil {
		return []doctor.Finding{judgeFailure(q.where, err, time.Now())}
	}
	return q.judge(ctx, second, address, authorization)
}

// send sends one request, as containerd does: with the headers of hosts.toml.
func (q question) send(ctx context.Context, method, address, authorization string) (answer, error) {
	r, err := http.NewRequest(method, address, nil)
	if err != nil {
		return answer{}, err
	}
	for name, values := range q.endpoint.Header {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	if q.known {
		r.Header.Set("Accept", strings.Join([]string{
			"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
			"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "*/*",
		}, ", "))
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	return q.do(ctx, r)
}

// do sends a request and reads the beginning of the answer.
func (q question) do(ctx context.Context, r *http.Request) (answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, q.limit, errTooLong)
	defer cancel()
	response, err := q.client.Do(r.WithContext(ctx))
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	if err != nil {
		return answer{}, err
	}
	return answer{response.StatusCode, response.Header, string(body), challenges(response.Header)}, nil
}

// clock compares the registry's clock with this node's.
func (q question) clock(a answer) []doctor.Finding {
	there, err := http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return nil
	}
	if skew := time.Since(there).Round(time.Second); skew.Abs() > maxSkew {
		way := "ahead of"
		if skew < 0 {
			way = "behind"
		}
		return q.finding(doctor.ProbeClock, fmt.Sprintf("this node's clock is %s %s that of the registry, so tokens may be refused", skew.Abs(), way), "set the clock: timedatectl set-ntp true")
	}
	return nil
}

// judge says what an answer to a request with that authorization means.
func (q question) judge(ctx context.Context, a answer, address, authorization string) []doctor.Finding {
	as := q.as()
	switch code := a.status; {
	case code == http.StatusProxyAuthRequired:
		return q.finding(doctor.ProbeProxy, "a proxy wants a login of its own", "put the login into HTTPS_PROXY of containerd's unit, or the registry into NO_PROXY")
	case code == http.StatusTooManyRequests:
		text := "it refuses requests for a while: too many were sent"
		if after := oneLine(a.header.Get("Retry-After")); after != "" {
			text += fmt.Sprintf(" (Retry-After: %.40s)", after)
		}
		return q.finding(doctor.ProbeThrottled, text, "wait, and run this again")
	case code >= 500:
		return q.finding(doctor.ProbeServerError, fmt.Sprintf("it answers %d %s", code, http.StatusText(code)), "check the registry's own log")
	case code == http.StatusUnauthorized && scopeMissing(a):
		return q.finding(doctor.ProbeForbidden, fmt.Sprintf("%s is accepted, and may not pull %s there", as, q.what()), q.grant())
	case code == http.StatusUnauthorized:
		return q.unauthorized("it refuses " + as)
	case code == http.StatusForbidden:
		return q.finding(doctor.ProbeForbidden, fmt.Sprintf("%s may not pull %s there", as, q.what()), q.grant())
	case code == http.StatusNotFound && q.known:
		return q.missing(ctx, address, authorization)
	case code == http.StatusNotFound, !q.known && strings.HasPrefix(a.header.Get("Content-Type"), "text/html"):
		return q.finding(doctor.ProbeNotARegistry, "there is no registry at "+address, "correct the host, the port or the path of the target in the map")
	}
	return nil
}

// what names what is pulled.
func (q question) what() string {
	if !q.known {
		return "anything"
	}
	return q.repository()
}

// repository returns the image's repository at the target.
func (q question) repository() string {
	_, prefix, _ := strings.Cut(q.endpoint.Path+"/", "/v2/")
	return strings.Trim(path.Join(prefix, q.image.Repository()), "/")
}

// grant says how to give the right to pull.
func (q question) grant() string {
	if strings.HasSuffix(q.login.Username, "000000000000") || strings.Contains(q.endpoint.Host, ".azurecr.") {
		return "give the identity the role AcrPull on the registry (or Container Registry Repository Reader, if it uses ABAC)"
	}
	return "give the account the right to pull " + q.what() + " there"
}

// unauthorized returns the finding about a refused credential. A token may show the
// reason.
func (q question) unauthorized(text string) []doctor.Finding {
	parts := strings.Split(q.login.Password.Reveal(), ".")
	var claims struct {
		Audience any   `json:"aud"`
		Expires  int64 `json:"exp"`
	}
	if len(parts) == 3 {
		if data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "=")); err == nil {
			_ = json.Unmarshal(data, &claims) // what is not known is zero
		}
	}
	if aud, ok := claims.Audience.(string); ok && aud != "" && !strings.EqualFold(aud, registryOf(q.endpoint)) {
		return q.finding(doctor.ProbeAudience, fmt.Sprintf("%s: its token is for %.100q", text, oneLine(aud)), "use a credential of this registry: check credential under [registry] in the map")
	}
	if claims.Expires != 0 && time.Unix(claims.Expires, 0).Before(time.Now()) {
		return q.finding(doctor.ProbeUnauthorized, fmt.Sprintf("%s: its token expired on %s", text, stamp(time.Unix(claims.Expires, 0))), "renew it, and check this node's clock")
	}
	if q.login.Anonymous() {
		return q.finding(doctor.ProbeUnauthorized, text, "correct the credential that the map has for it; see mirrorcred status")
	}
	return q.finding(doctor.ProbeUnauthorized, text, "correct the credential "+q.login.name+" of the map")
}

// missing distinguishes a missing repository from a missing tag; only the body of another
// request shows that. If the image is from the log, its tag is not known, and a missing
// tag is not a finding.
func (q question) missing(ctx context.Context, address, authorization string) []doctor.Finding {
	what := fmt.Sprintf("%s:%s", q.repository(), q.reference())
	a, err := q.send(ctx, http.MethodGet, address, authorization)
	switch {
	case err == nil && strings.Contains(a.body, "NAME_UNKNOWN"):
		what = "the repository " + q.repository()
	case !q.exact:
		return nil
	}
	return q.finding(doctor.ProbeNotFound, "it does not have "+what, "import the image there, or correct the path of the target in the map")
}

// scopeMissing reports whether a registry accepts a token that is not enough (RFC
// 6750, section 3.1).
func scopeMissing(a answer) bool {
	for _, c := range a.challenges {
		if c.params["error"] == "insufficient_scope" {
			return true
		}
	}
	return false
}

var errNoToken = errors.New("the token service answers without a token")
