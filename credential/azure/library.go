package azure

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/mirrorcred/mirrorcred/credential"
)

// A library is one use of azidentity, with this package's limits and errors.
type library struct {
	step   step
	client *http.Client
	make   func(policy.ClientOptions) (azcore.TokenCredential, error)
	config string                      // names the settings that make may refuse
	claims string                      // see policy.TokenRequestOptions
	busy   []int                       // statuses that go by, besides the usual ones
	remedy func(message string) string // says what to do about a refusal
	trusts func(*url.URL) bool         // which hosts may be asked; nil for all
}

// token returns a token for registries.
func (l library) token(ctx context.Context, o Options) (credential.Secret, error) {
	defer l.client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, o.IdentityLimit)
	defer cancel()
	seen, guard := &witness{}, &guard{trusts: l.trusts}
	cred, err := l.make(policy.ClientOptions{
		Transport:        l.client,
		Telemetry:        policy.TelemetryOptions{ApplicationID: userAgent},
		Retry:            l.retries(ctx, o),
		PerCallPolicies:  []policy.Policy{guard},
		PerRetryPolicies: []policy.Policy{seen},
	})
	if err != nil {
		return "", l.refused(err)
	}
	token, err := cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{scope}, Claims: l.claims})
	if seen.host != "" {
		l.step.host = seen.host
	}
	switch {
	case guard.kept != "":
		return "", l.step.fault("it redirects to "+quoted(guard.kept)+", which gets nothing", unexpected)
	case err != nil:
		return "", l.fault(ctx, seen, err)
	case !credential.Secret(token.Token).IsToken():
		return "", l.step.fault("a token that is empty or holds spaces or control characters", unexpected)
	}
	return credential.Secret(token.Token), nil
}

// retries limits the library's own retries, which take more than a minute by default. A
// pause longer than ctx would only hide the answer.
func (l library) retries(ctx context.Context, o Options) policy.RetryOptions {
	longest := o.IdentityLimit / 2
	if deadline, ok := ctx.Deadline(); ok {
		longest = max(min(longest, time.Until(deadline)), 1)
	}
	return policy.RetryOptions{
		MaxRetries:    3,
		RetryDelay:    o.RetryDelay,
		MaxRetryDelay: longest,
		TryTimeout:    o.IdentityLimit / 2,
		StatusCodes:   append([]int{408, 429, 500, 502, 503, 504}, l.busy...),
	}
}

// refused returns the error for settings that the library does not take.
func (l library) refused(err error) error {
	return l.step.fault(l.step.scrub(err.Error()), "check "+l.config)
}

// A guard lets the library send requests only to trusted hosts. The library sends the
// secret to a URL that it takes from an answer.
type guard struct {
	trusts func(*url.URL) bool
	kept   string // the host that it blocked
}

// Do implements [policy.Policy].
func (g *guard) Do(req *policy.Request) (*http.Response, error) {
	if u := req.Raw().URL; g.trusts != nil && !g.trusts(u) {
		g.kept = u.Scheme + "://" + u.Host
		return nil, errors.New("not to be asked")
	}
	return req.Next()
}

// A witness sees each try on the wire. The library's own errors are many lines long,
// repeat the answer, and cannot be unwrapped.
type witness struct {
	host, path string
	tries      int // of the last path
	last       response
	err        error
}

// Do implements [policy.Policy].
func (w *witness) Do(req *policy.Request) (*http.Response, error) {
	if u := req.Raw().URL; u.Path != w.path {
		w.host, w.path, w.tries = u.Hostname(), u.Path, 0
	}
	w.tries++
	resp, err := req.Next()
	w.err = err
	if err == nil {
		body, _ := runtime.Payload(resp)
		w.last = response{status: resp.StatusCode, header: resp.Header, body: body, tries: w.tries}
	}
	return resp, err
}

// fault translates the library's error, by what the witness saw on the wire.
func (l library) fault(ctx context.Context, seen *witness, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled), seen.last.status == 0 && ctx.Err() != nil:
		return l.step.network(ctx, ctx.Err())
	case seen.tries == 0:
		return l.refused(err)
	case seen.err != nil && seen.last.status/100 != 5:
		return l.step.network(ctx, seen.err)
	case seen.last.status == http.StatusOK:
		// No word of the library here: it quotes the answer.
		return l.step.fault("an answer that is not the JSON of a token", unexpected)
	}
	message := serverMessage(seen.last.body)
	status := seen.last.status
	switch {
	case status == http.StatusTooManyRequests || status >= 500 || slices.Contains(l.busy, status):
		return l.step.status(seen.last, message, "try again later")
	case status/100 == 3:
		return l.step.status(seen.last, message, unexpected)
	}
	return l.step.status(seen.last, message, l.remedy(message))
}
