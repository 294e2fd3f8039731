// Package azure gets the credential for an Azure Container Registry. It asks
// the registry which token service to use, gets a token of Entra ID for the
// identity of the node or of a pod, and exchanges that at the registry for a
// refresh token, which is the password.
//
// It uses the network. It does not know who needs the credential or why, or where
// azure.json is. It sends a token only to an ACR login server of the configured cloud,
// over TLS, and never asks the metadata service through a proxy. Each step has a time
// limit; its error is one line that names the step and the remedy.
//
// Start at [ReadConfig] and [New]. Package azuretest is a stand-in for Azure.
package azure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// Username is the username with every password that a [Source] returns. It
// tells the registry that the password is a refresh token
// (learn.microsoft.com/azure/container-registry/container-registry-authentication).
const Username = "00000000-0000-0000-0000-000000000000"

// Options limit how long each step may take, and let a test replace the
// network. The zero value is for production.
type Options struct {
	// IdentityLimit is how long to wait for the managed identity or Entra ID,
	// with retries; 0 means 20 s.
	IdentityLimit time.Duration
	// RequestLimit is how long to wait for each of the two requests to the
	// registry, with retries; 0 means 10 s.
	RequestLimit time.Duration
	// RetryDelay is the pause before the first retry, unless the server asks
	// for another; later pauses are longer. 0 means 500 ms.
	RetryDelay time.Duration
	// DialContext connects to host:port; nil means a [net.Dialer]. If a proxy
	// is used, DialContext connects to the proxy.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// Transport carries every request instead of DialContext; nil means that HTTP
	// and TLS do.
	Transport http.RoundTripper
	// RootCAs are the CAs to trust; nil means the system's.
	RootCAs *x509.CertPool
	// ReadFile reads a file that azure.json, the environment or Binding names;
	// nil means files of this machine, up to 1 MiB each. Its error is one line
	// and names the file.
	ReadFile func(ctx context.Context, path string) ([]byte, error)
	// EnvironmentFile is the path of the file that describes the cloud, if that
	// is AzureStackCloud; "" means the file in $AZURE_ENVIRONMENT_FILEPATH.
	EnvironmentFile string

	// ClientID and TenantID are the identity of pods whose service account has
	// no annotation with its own.
	ClientID, TenantID string
	// RequireServiceAccount makes it an error if the request has no service
	// account token. Otherwise the node's identity is used.
	RequireServiceAccount bool
	// Binding exchanges a pod's service account token for one of Entra ID; nil
	// means that Entra ID does.
	Binding *Binding
	// TokenCache caches the node's token of Entra ID from one registry to the next;
	// nil means no cache.
	TokenCache Cache
	// CloudCache caches the endpoints of a private cloud, in the form of a
	// credential, from one run to the next; nil means no cache.
	CloudCache Cache

	bundle func() *x509.CertPool // see web
}

func (o Options) withDefaults() Options {
	if o.IdentityLimit == 0 {
		o.IdentityLimit = 20 * time.Second
	}
	if o.RequestLimit == 0 {
		o.RequestLimit = 10 * time.Second
	}
	if o.RetryDelay == 0 {
		o.RetryDelay = 500 * time.Millisecond
	}
	if o.DialContext == nil {
		o.DialContext = new(net.Dialer).DialContext
	}
	if o.ReadFile == nil {
		o.ReadFile = readFile
	}
	o.bundle = newBundle()
	return o
}

func readFile(_ context.Context, path string) ([]byte, error) {
	return input.ReadFile(path, mostAnswer)
}

// A Source returns credentials for the Azure Container Registries that one
// azure.json can reach. From one call to the next it keeps only the endpoints
// of a private cloud.
type Source struct {
	config Config
	opts   Options
	lookup *lookup
}

var _ credential.Source = (*Source)(nil)

// New returns the source for a configuration. It does not use the network.
func New(config Config, o Options) *Source {
	return &Source{config, o.withDefaults(), new(lookup)}
}

// Credential returns the username and password for query.Registry, and when the
// password expires, if it says so itself. If the query has a pod's token, the
// identity is the pod's, otherwise the node's. If the registry is not an ACR
// login server of the configured cloud, Credential sends it nothing.
//
// It takes at most IdentityLimit and twice RequestLimit, and RequestLimit once
// more for a private cloud on the first call. The error is one line and names
// the step; it wraps that of ctx if ctx ended the step.
func (s *Source) Credential(ctx context.Context, query credential.Query) (credential.Credential, error) {
	cloud, err := s.cloud(ctx)
	if err != nil {
		return credential.Credential{}, err
	}
	if !query.Registry.ACRSuffixIn(cloud.suffix) {
		return credential.Credential{}, fmt.Errorf("%q is not a login server of Azure Container Registry (NAME.%s); give it another credential, or set cloud if the registry is in another one", query.Registry, cloud.suffix)
	}
	identity, tenant, err := s.identity(ctx, query, cloud)
	if err != nil {
		return credential.Credential{}, err
	}
	client := s.opts.web()
	defer client.CloseIdleConnections()
	r := registry{query.Registry, sender{client, s.opts}}

	// The registry is asked first: if a host does not challenge as an ACR registry
	// does, no token is fetched at all.
	end := begin(ctx, registryChallenge)
	to, err := r.challenge(ctx)
	end()
	if err != nil {
		return credential.Credential{}, err
	}
	access, err := s.cachedToken(ctx, query, func(ctx context.Context) (credential.Secret, error) { return identity.token(ctx, s.opts) })
	if err != nil {
		return credential.Credential{}, err
	}
	end = begin(ctx, registryExchange)
	refresh, err := r.exchange(ctx, to, access, tenant)
	end()
	if err != nil {
		return credential.Credential{}, err
	}
	return credential.Credential{Username: Username, Password: refresh, Expires: expiry(refresh)}, nil
}

// mostBytes limits what is read from a connection. No answer here is larger than some
// KiB, and the identity library reads every answer to its end.
const mostBytes = 4 << 20

// An endless error means that an answer has no end, so another try is useless.
type endless struct{}

func (endless) Error() string { return "the answer has no end" }

// NonRetriable keeps azidentity from asking again.
func (endless) NonRetriable() {}

// client returns an HTTP client for one credential. It does not follow redirects, which
// could give the token away, and does not decompress.
func (o Options) client(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	client := &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     o.Transport,
	}
	if o.Transport == nil {
		client.Transport = o.transport(proxy)
	}
	return client
}

func (o Options) transport(proxy func(*http.Request) (*url.URL, error)) *http.Transport {
	return &http.Transport{
		Proxy: proxy,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := o.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &boundedConn{conn, mostBytes}, nil
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		OnProxyConnectResponse: func(_ context.Context, proxy *url.URL, _ *http.Request, resp *http.Response) error {
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			return fmt.Errorf("the proxy %s answered %d", proxy.Host, resp.StatusCode)
		},
	}
}

// A boundedConn ends after a number of bytes read. It limits the connection rather than
// the body, because azidentity needs an *http.Client over an *http.Transport for some
// kinds of managed identity.
type boundedConn struct {
	net.Conn
	left int
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, endless{}
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// noProxy is for the metadata service: it is on the machine's own link, and a
// proxy would be given the machine's token.
func noProxy(*http.Request) (*url.URL, error) { return nil, nil }
