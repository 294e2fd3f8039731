package azure

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/mirrorcred/mirrorcred/credential"
)

// An application is an identity with an id in a tenant of Entra ID, which must be
// proved: a service principal, or the identity of a workload.
type application struct {
	name, authority      string
	tenant, client       string
	tenantKey, clientKey string // where tenant and client are set
}

// ask requests a token with the proof that proves makes. If the proof has a text, that
// is kept out of errors.
func (a application) ask(ctx context.Context, o Options, text *credential.Secret, proves prover) (credential.Secret, error) {
	authority, err := url.Parse(a.authority)
	if err != nil {
		return "", errors.New("the sign-in endpoint of the cloud is not a URL; correct it in the description of the cloud")
	}
	step := startStep(a.name, authority.Hostname())
	if text != nil {
		step = startStep(a.name, authority.Hostname(), *text)
	}
	return library{
		step:   step,
		client: o.web(),
		config: a.tenantKey + " and " + a.clientKey,
		trusts: func(u *url.URL) bool { return u.Scheme == "https" && (u.Host == authority.Host || isSignIn(u.Host)) },
		make: func(o policy.ClientOptions) (azcore.TokenCredential, error) {
			o.Cloud = azcloud.Configuration{ActiveDirectoryAuthorityHost: a.authority}
			return proves.credential(o)
		},
		remedy: func(message string) string {
			switch {
			case strings.Contains(message, "AADSTS700016"):
				return "check " + a.clientKey + ", and that " + a.tenantKey + " is its tenant"
			case strings.Contains(message, "AADSTS90002"), strings.Contains(message, "AADSTS900023"):
				return "check " + a.tenantKey + " and cloud"
			}
			return proves.remedy(message)
		},
	}.token(ctx, o)
}

// A prover proves to Entra ID who an application is. Each disables instance discovery,
// which would ask the public cloud whether the authority is genuine. The authority comes
// from a table in this package or from the cloud itself.
type prover interface {
	credential(policy.ClientOptions) (azcore.TokenCredential, error)
	remedy(message string) string
}

// bySecret proves an application by a password.
type bySecret struct {
	application
	secret *credential.Secret
}

func (a bySecret) token(ctx context.Context, o Options) (credential.Secret, error) {
	return a.application.ask(ctx, o, a.secret, a)
}

func (a bySecret) credential(o policy.ClientOptions) (azcore.TokenCredential, error) {
	return azidentity.NewClientSecretCredential(a.tenant, a.client, a.secret.Reveal(),
		&azidentity.ClientSecretCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: true})
}

func (a bySecret) remedy(message string) string {
	if strings.Contains(message, "AADSTS7000215") || strings.Contains(message, "AADSTS7000222") {
		return "renew aadClientSecret; it is the secret's value, not its id"
	}
	return "check tenantId, aadClientId, aadClientSecret and cloud"
}

// byCertificate proves an application by a certificate's key.
type byCertificate struct {
	application
	chain []*x509.Certificate
	key   crypto.PrivateKey
}

func (a byCertificate) token(ctx context.Context, o Options) (credential.Secret, error) {
	return a.application.ask(ctx, o, nil, a)
}

func (a byCertificate) credential(o policy.ClientOptions) (azcore.TokenCredential, error) {
	return azidentity.NewClientCertificateCredential(a.tenant, a.client, a.chain, a.key,
		// The chain goes with the assertion, for applications that trust a
		// certificate by its subject and issuer.
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: true, SendCertificateChain: true})
}

func (a byCertificate) remedy(message string) string {
	if strings.Contains(message, "AADSTS700027") {
		return "register the certificate of aadClientCertPath with the application, or renew it if it has expired"
	}
	return "check tenantId, aadClientId, aadClientCertPath and cloud"
}

// certified returns a service principal that is proved by the certificate and
// key in aadClientCertPath.
func (s *Source) certified(ctx context.Context, app application) (identity, error) {
	path := s.config.certPath
	data, err := s.opts.ReadFile(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("aadClientCertPath: %w; set it to the file with the certificate and its key", err)
	}
	var password []byte
	isPEM := bytes.Contains(data, []byte("-----BEGIN "))
	// The library takes a file for PKCS#12 whenever there is a password.
	if s.config.certPassword != nil && !isPEM {
		password = []byte(s.config.certPassword.Reveal())
	}
	chain, key, err := azidentity.ParseCertificates(data, password)
	if err == nil {
		app := byCertificate{app, chain, key}
		// The library reports here that a key belongs to another certificate, or
		// is of a kind that it cannot sign with. Later errors are less clear.
		if _, err = azidentity.NewClientCertificateCredential("tenant", "client", chain, key, nil); err == nil {
			return app, nil
		}
	}
	return nil, fmt.Errorf("aadClientCertPath: %s: %w", path, certificateFault(data, isPEM, err))
}

// certificateFault says why a file is not a certificate and its key. The
// libraries' errors do not quote it.
func certificateFault(data []byte, isPEM bool, err error) error {
	text := step{}.scrub(err.Error())
	switch {
	case isPEM && bytes.Contains(data, []byte("ENCRYPTED")):
		return errors.New("the key in it is encrypted; write it without a passphrase, or make a PKCS#12 file and set aadClientCertPassword")
	case isPEM:
		return fmt.Errorf("%s; write the certificate and its RSA key into it, as PEM", text)
	case strings.Contains(text, "password incorrect"):
		return errors.New("the password is not the file's; set aadClientCertPassword")
	case strings.Contains(text, "algorithm"), strings.Contains(text, "not implemented"), strings.Contains(text, "unknown"):
		return fmt.Errorf("it is encrypted in a way that is not known here (%s); write the file as PEM, or with \"openssl pkcs12 -export -legacy\"", text)
	}
	return fmt.Errorf("it is neither PEM nor PKCS#12 (%s); write the certificate and its RSA key into it", text)
}

// byAssertion proves an application by a token that another issuer, such as
// the cluster, gave it.
type byAssertion struct {
	application
	assertion *credential.Secret
}

func (a byAssertion) token(ctx context.Context, o Options) (credential.Secret, error) {
	return a.application.ask(ctx, o, a.assertion, a)
}

func (a byAssertion) credential(o policy.ClientOptions) (azcore.TokenCredential, error) {
	assertion := func(context.Context) (string, error) { return a.assertion.Reveal(), nil }
	return azidentity.NewClientAssertionCredential(a.tenant, a.client, assertion,
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: o, DisableInstanceDiscovery: true})
}

func (a byAssertion) remedy(message string) string {
	switch {
	case strings.Contains(message, "AADSTS700024"):
		return "the token is not valid at this time; check the node's clock and what renews the token"
	case strings.Contains(message, "AADSTS70021"), strings.Contains(message, "AADSTS70025"):
		return "give the application a federated credential for the token's issuer, subject and audience"
	}
	return "check " + a.tenantKey + ", " + a.clientKey + " and cloud, and the application's federated credentials"
}

// federated returns a service principal that is proved by the token in
// aadFederatedTokenFile. Something renews the file, so it is read each time.
func (s *Source) federated(ctx context.Context, app application) (identity, error) {
	data, err := s.opts.ReadFile(ctx, s.config.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("aadFederatedTokenFile: %w; set it to the file with the token", err)
	}
	token := credential.Secret(bytes.TrimSpace(data))
	if !token.IsToken() {
		return nil, fmt.Errorf("aadFederatedTokenFile: %s does not hold one token; check what writes it", s.config.tokenFile)
	}
	return byAssertion{app, &token}, nil
}
