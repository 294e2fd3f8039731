package azuretest

import (
	"crypto/x509"
	"slices"
	"time"
)

// Defaults of [Options].
const (
	DefaultTenant       = "11111111-2222-3333-4444-555555555555"
	DefaultClientID     = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	DefaultClientSecret = Canary + "client~secret"
)

// An Identity is a user-assigned managed identity of the machine.
type Identity struct {
	ClientID   string
	ResourceID string // /subscriptions/…/userAssignedIdentities/NAME; compared without case
}

// A Federation is an identity that proves itself with the token of another
// service: that of a pod, or of a file.
type Federation struct {
	ClientID  string
	Tenant    string // "" means that of Options
	Assertion string // the token that is accepted
	// Accept judges a token, as a service does that knows its issuer; nil means that
	// only Assertion is accepted.
	Accept func(assertion string) bool
}

func (f Federation) accepts(assertion string) bool {
	if f.Accept != nil {
		return f.Accept(assertion)
	}
	return assertion == f.Assertion
}

// Options say what the stand-in consists of. The zero value is a cloud with a
// system-assigned identity and no registry.
type Options struct {
	// Tenant is the tenant of the machine and the service principal; "" means [DefaultTenant].
	Tenant string
	// ClientID and ClientSecret are the one service principal; "" means
	// [DefaultClientID] and [DefaultClientSecret].
	ClientID, ClientSecret string
	// Certificate is another proof of the service principal; nil means none.
	Certificate *x509.Certificate
	// Federations are more identities. The tenant of each must exist.
	Federations []Federation
	// Identities are the machine's user-assigned identities.
	Identities []Identity
	// NoSystemIdentity removes the system-assigned identity.
	NoSystemIdentity bool
	// RefreshLife is how long a registry's refresh token lives (0 means 3
	// hours), AccessLife how long its access tokens do (0 means 5 minutes).
	RefreshLife, AccessLife time.Duration
	// Now is the clock for tokens; nil means [time.Now].
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.Tenant == "" {
		o.Tenant = DefaultTenant
	}
	if o.ClientID == "" {
		o.ClientID = DefaultClientID
	}
	if o.ClientSecret == "" {
		o.ClientSecret = DefaultClientSecret
	}
	if o.RefreshLife == 0 {
		o.RefreshLife = 3 * time.Hour
	}
	if o.AccessLife == 0 {
		o.AccessLife = 5 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Federations = slices.Clone(o.Federations)
	return o
}
