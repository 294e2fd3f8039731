package azure

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/mirrorcred/mirrorcred/credential"
)

const (
	managedIdentity  = "managed identity"
	servicePrincipal = "service principal"
	workloadIdentity = "workload identity"
)

// scope asks Entra ID for a token whose audience is registries; it is the same
// in every cloud (kubernetes-sigs/cloud-provider-azure,
// pkg/credentialprovider/azure_credentials.go).
const scope = "https://containerregistry.azure.net/.default"

// accessToken returns a token of Entra ID for the configured identity. The
// error is one line and holds no secret.
func (s *Source) accessToken(ctx context.Context) (credential.Secret, error) {
	seen := &witness{}
	name, proxy, host := managedIdentity, noProxy, "169.254.169.254"
	if !s.config.managed {
		name, proxy, host = servicePrincipal, http.ProxyFromEnvironment, strings.Trim(strings.TrimPrefix(s.config.cloud.authority, "https:"), "/")
	}
	client := s.opts.client(proxy)
	defer client.CloseIdleConnections()
	_, secret, _ := s.config.ServicePrincipal()
	step := startStep(name, host, secret)

	cred, err := s.identity(policy.ClientOptions{
		Cloud:            azcloud.Configuration{ActiveDirectoryAuthorityHost: s.config.cloud.authority},
		Transport:        client,
		Telemetry:        policy.TelemetryOptions{ApplicationID: userAgent},
		Retry:            s.retries(),
		PerRetryPolicies: []policy.Policy{seen},
	})
	if err != nil {
		return "", step.fault(step.scrub(err.Error()), "check userAssignedIdentityID, tenantId and aadClientId")
	}
	ctx, cancel := context.WithTimeout(ctx, s.opts.IdentityLimit)
	defer cancel()
	ask := policy.TokenRequestOptions{Scopes: []string{scope}}
	if s.config.managed {
		// The library keeps tokens of managed identities for the whole
		// process, whatever endpoint gave them. Claims make it ask again;
		// they are not sent.
		ask.Claims = "{}"
	}
	token, err := cred.GetToken(ctx, ask)
	if seen.host != "" {
		step.host = seen.host
	}
	switch {
	case err != nil:
		return "", s.identityError(ctx, step, seen, err)
	case !isTokenText(token.Token):
		return "", step.fault("a token that is empty or holds spaces or control characters", unexpected)
	}
	return credential.Secret(token.Token), nil
}

// identity returns the library's credential for the configured identity.
func (s *Source) identity(o policy.ClientOptions) (azcore.TokenCredential, error) {
	if clientID, secret, ok := s.config.ServicePrincipal(); ok {
		// Instance discovery asks the public cloud whether the authority
		// is one. It comes from our own table.
		return azidentity.NewClientSecretCredential(s.config.tenant, clientID, secret.Reveal(),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: true})
	}
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: o}
	switch id := s.config.assigned; {
	case strings.Contains(strings.ToLower(id), "/subscriptions/"):
		options.ID = azidentity.ResourceID(id)
	case id != "":
		options.ID = azidentity.ClientID(id)
	}
	return azidentity.NewManagedIdentityCredential(options)
}

// retries bounds what the library does by itself, which takes more than a
// minute by default. The metadata service answers 404 and 410 while it is
// being updated
// (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
func (s *Source) retries() policy.RetryOptions {
	o := policy.RetryOptions{
		MaxRetries:    3,
		RetryDelay:    s.opts.RetryDelay,
		MaxRetryDelay: s.opts.IdentityLimit / 2,
		TryTimeout:    s.opts.IdentityLimit / 2,
		StatusCodes:   []int{408, 429, 500, 502, 503, 504},
	}
	if s.config.managed {
		o.StatusCodes = append(o.StatusCodes, http.StatusNotFound, http.StatusGone)
	}
	return o
}

// A witness sees each try on the wire. The library's errors are many lines
// long, repeat what was answered, and are not to be unwrapped.
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

// identityError translates the library's error by what was seen on the wire.
func (s *Source) identityError(ctx context.Context, step step, seen *witness, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled), seen.last.status == 0 && ctx.Err() != nil:
		return step.network(ctx, ctx.Err())
	case seen.tries == 0:
		return step.fault(step.scrub(err.Error()), "check userAssignedIdentityID, tenantId and aadClientId")
	case seen.err != nil && seen.last.status/100 != 5:
		return step.network(ctx, seen.err)
	case seen.last.status == http.StatusOK:
		// No word of the library here: it quotes the answer.
		return step.fault("an answer that is not the JSON of a token", unexpected)
	}
	message := serverMessage(seen.last.body)
	return step.status(seen.last, message, s.identityRemedy(seen.last.status, message))
}

// identityRemedy says what to do about an answer that is no token.
func (s *Source) identityRemedy(status int, message string) string {
	switch {
	case status == http.StatusTooManyRequests || status >= 500 || status == http.StatusGone || s.config.managed && status == http.StatusNotFound:
		return "try again later"
	case status/100 == 3:
		return unexpected
	case s.config.managed && s.config.assigned != "":
		return "assign userAssignedIdentityID to this machine, or set it to the client id or resource id of an identity that is"
	case s.config.managed:
		return "turn the machine's system-assigned identity on, or set userAssignedIdentityID to the client id or resource id of one that is assigned"
	case strings.Contains(message, "AADSTS700016"):
		return "check aadClientId, and that tenantId is its tenant"
	case strings.Contains(message, "AADSTS7000215"), strings.Contains(message, "AADSTS7000222"):
		return "renew aadClientSecret; it is the secret's value, not its id"
	case strings.Contains(message, "AADSTS90002"), strings.Contains(message, "AADSTS900023"):
		return "check tenantId and cloud"
	}
	return "check tenantId, aadClientId, aadClientSecret and cloud"
}
