package azure

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A registry is an ACR login server with a sender to reach it.
type registry struct {
	host mirror.Host
	sender
}

// An exchangeAt is where a registry accepts the token of an identity.
type exchangeAt struct{ host, service string }

// challenge asks the registry how to authenticate. The error is one line.
func (r registry) challenge(ctx context.Context) (exchangeAt, error) {
	step := startStep(registryChallenge, r.host.Hostname())
	ctx, cancel := context.WithTimeout(ctx, r.opts.RequestLimit)
	defer cancel()
	resp, err := r.send(ctx, step, request{method: http.MethodGet, url: "https://" + r.host.Hostname() + "/v2/"})
	if err != nil {
		return exchangeAt{}, err
	}
	if resp.status != http.StatusUnauthorized {
		return exchangeAt{}, step.status(resp, serverMessage(resp.body), challengeRemedy(resp))
	}
	headers := resp.header.Values("Www-Authenticate")
	if len(headers) != 1 {
		return exchangeAt{}, step.fault(fmt.Sprintf("%d Www-Authenticate headers instead of one", len(headers)), notARegistry)
	}
	list, err := parseChallenges(headers[0])
	if err != nil || len(list) != 1 || list[0].scheme != "bearer" {
		return exchangeAt{}, step.fault(fmt.Sprintf("not one Bearer challenge: %s", quoted(headers[0])), notARegistry)
	}
	return r.pin(step, list[0])
}

const notARegistry = "check that the name leads to the registry, and not to a proxy or a private endpoint that answers for it"

func challengeRemedy(resp response) string {
	switch {
	case resp.status == http.StatusOK && serverMessage(resp.body) != htmlPage:
		return "the registry does not ask for a token; use the credential \"anonymous\" for it"
	case resp.status == http.StatusForbidden:
		return "allow the node's address in the registry's network rules, or reach it by its private endpoint"
	case resp.status >= 500 || resp.status == http.StatusTooManyRequests:
		return "try again later"
	}
	return notARegistry
}

// pin checks that a challenge leads back to the registry that made it. A realm on
// another host would get the node's token.
func (r registry) pin(step step, c challenge) (exchangeAt, error) {
	hostname := r.host.Hostname()
	realm, err := url.Parse(c.params["realm"])
	switch {
	case err != nil || c.params["realm"] == "" || c.params["service"] == "":
		return exchangeAt{}, step.fault("a challenge without a realm and a service", notARegistry)
	case realm.Scheme != "https" || realm.User != nil || !strings.EqualFold(realm.Hostname(), hostname) || realm.Port() != "" && realm.Port() != "443":
		return exchangeAt{}, step.fault(fmt.Sprintf("the realm %s is not on the registry's own host, so it is not given the token", quoted(realm.Redacted())), notARegistry)
	case !r.names(c.params["service"]):
		return exchangeAt{}, step.fault(fmt.Sprintf("the service %s is not the registry", quoted(c.params["service"])), notARegistry)
	}
	return exchangeAt{hostname, c.params["service"]}, nil
}

// names reports whether service is this registry: the login server itself, or, for the
// login server of one region, the global one.
func (r registry) names(service string) bool {
	hostname := r.host.Hostname()
	name, _, _ := strings.Cut(hostname, ".")
	_, suffix, regional := strings.Cut(hostname, ".geo.")
	return strings.EqualFold(service, hostname) || regional && strings.EqualFold(service, name+"."+suffix)
}

// exchange exchanges an access token of Entra ID for a refresh token of the registry.
// The form is the one acr-credential-provider sends
// (kubernetes-sigs/cloud-provider-azure,
// pkg/credentialprovider/azure_acr_helper.go). The error is one line and holds
// neither token.
func (r registry) exchange(ctx context.Context, to exchangeAt, access credential.Secret, tenant string) (credential.Secret, error) {
	step := startStep(registryExchange, to.host, access)
	ctx, cancel := context.WithTimeout(ctx, r.opts.RequestLimit)
	defer cancel()
	resp, err := r.send(ctx, step, request{http.MethodPost, "https://" + to.host + "/oauth2/exchange", url.Values{
		"grant_type":    {"access_token_refresh_token"},
		"access_token":  {access.Reveal()},
		"refresh_token": {access.Reveal()},
		"service":       {to.service},
		"tenant":        {tenant},
	}})
	switch {
	case err != nil:
		return "", err
	case resp.status == http.StatusUnauthorized || resp.status == http.StatusForbidden:
		return "", step.status(resp, serverMessage(resp.body), "give the identity that pulls the role AcrPull on the registry, and check its tenant")
	case resp.status != http.StatusOK:
		return "", step.status(resp, serverMessage(resp.body), challengeRemedy(resp))
	case len(resp.body) > mostAnswer:
		return "", step.fault("an answer of more than 1 MiB", notARegistry)
	}
	var answer struct {
		RefreshToken string `json:"refresh_token"`
	}
	if json.Unmarshal(resp.body, &answer) != nil {
		return "", step.fault("an answer that is not the JSON of a token", notARegistry)
	}
	if !credential.Secret(answer.RefreshToken).IsToken() {
		return "", step.fault("an answer whose refresh_token is empty or holds spaces or control characters", notARegistry)
	}
	return credential.Secret(answer.RefreshToken), nil
}

// expiry returns the time at which a JWT says it expires (RFC 7519, section 4.1.4), and
// the zero time if it says none. It verifies nothing: whether the token is valid is for
// the registry to decide.
func expiry(token credential.Secret) time.Time {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	// The upper bound is the year 9999, past which times do not print.
	if json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 || claims.Expires > 253402300799 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}
