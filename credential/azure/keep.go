package azure

import (
	"context"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// Names of the steps at the registry.
const (
	registryChallenge = "registry challenge"
	registryExchange  = "registry token exchange"
)

// A Keep returns a token of Entra ID for the node's identity: one that it has,
// or what fetch gets, with the time at which that expires. Its error is
// fetch's, or one line without a secret.
type Keep func(ctx context.Context, fetch func(context.Context) (credential.Credential, error)) (credential.Credential, error)

// keepFor bounds how long a token of Entra ID is kept. It is good for a day,
// but an identity that is made anew in the meantime has another one.
const keepFor = 10 * time.Minute

// keptToken returns what fetch gets, or what Options.Keep has of it. A pod's
// token is never kept.
func (s *Source) keptToken(ctx context.Context, ask credential.Ask, fetch func(context.Context) (credential.Secret, error)) (credential.Secret, error) {
	traced := func(ctx context.Context) (credential.Secret, error) {
		defer begin(ctx, s.Identity(ask))()
		return fetch(ctx)
	}
	if s.opts.Keep == nil || ask.ServiceAccountToken != "" {
		return traced(ctx)
	}
	kept, err := s.opts.Keep(ctx, func(ctx context.Context) (credential.Credential, error) {
		token, err := traced(ctx)
		if err != nil {
			return credential.Credential{}, err
		}
		expires := expiry(token)
		if soon := time.Now().Add(keepFor); expires.After(soon) {
			expires = soon
		}
		return credential.Credential{Password: token, Expires: expires}, nil
	})
	return kept.Password, err
}

// Identity returns the kind of identity that answers an ask, in the words of
// the errors.
func (s *Source) Identity(ask credential.Ask) string {
	switch {
	case ask.ServiceAccountToken != "" && s.opts.Binding != nil:
		return identityBinding
	case ask.ServiceAccountToken != "":
		return workloadIdentity
	case s.config.managed:
		return managedIdentity
	}
	return servicePrincipal
}

type traceKey struct{}

// WithTrace returns a context under which f is told of each step that asked
// the network, when it is over, and how long it took. f is called by the
// goroutine that called [Source.Credential].
func WithTrace(ctx context.Context, f func(step string, took time.Duration)) context.Context {
	return context.WithValue(ctx, traceKey{}, f)
}

// begin begins a step, and returns what ends it.
func begin(ctx context.Context, step string) func() {
	f, ok := ctx.Value(traceKey{}).(func(string, time.Duration))
	if !ok {
		return func() {}
	}
	started := time.Now()
	return func() { f(step, time.Since(started)) }
}
