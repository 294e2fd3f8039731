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

// A Cache keeps the node's token of Entra ID. It returns the token that
// it has, or calls fetch, which returns a token and when that expires. Its
// error is that of fetch, or one line without a secret.
type Cache func(ctx context.Context, fetch func(context.Context) (credential.Credential, error)) (credential.Credential, error)

// cacheFor limits how long a token of Entra ID is cached. The token is valid for a day,
// but not if the identity is deleted and created again in the meantime.
const cacheFor = 10 * time.Minute

// cachedToken returns the token from Options.TokenCache, or else from fetch. A pod's token
// is never cached.
func (s *Source) cachedToken(ctx context.Context, query credential.Query, fetch func(context.Context) (credential.Secret, error)) (credential.Secret, error) {
	traced := func(ctx context.Context) (credential.Secret, error) {
		defer begin(ctx, s.Identity(query))()
		return fetch(ctx)
	}
	if s.opts.TokenCache == nil || query.ServiceAccountToken != "" {
		return traced(ctx)
	}
	kept, err := s.opts.TokenCache(ctx, func(ctx context.Context) (credential.Credential, error) {
		token, err := traced(ctx)
		if err != nil {
			return credential.Credential{}, err
		}
		expires := expiry(token)
		if soon := time.Now().Add(cacheFor); expires.After(soon) {
			expires = soon
		}
		return credential.Credential{Password: token, Expires: expires}, nil
	})
	return kept.Password, err
}

// Identity returns the kind of identity that would be used for a query, in the words of
// the errors.
func (s *Source) Identity(query credential.Query) string {
	switch {
	case query.ServiceAccountToken != "" && s.opts.Binding != nil:
		return identityBinding
	case query.ServiceAccountToken != "":
		return workloadIdentity
	case s.config.managed:
		return managedIdentity
	}
	return servicePrincipal
}

type traceKey struct{}

// WithTrace returns a context for [Source.Credential] that calls f after each
// step that used the network, with the name of the step and how long it took.
// The goroutine that called Credential calls f.
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
