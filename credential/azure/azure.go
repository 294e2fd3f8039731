// Package azure gets the credential for an Azure Container Registry: the
// registry says where it wants to be asked, Entra ID vouches for the node's
// identity or a pod's, and the registry gives a refresh token for that, which
// is the password.
//
// It is where the network is. It refuses to know who asks and why, or where
// azure.json is; it is told. What it sends, and to whom, is bounded: a token
// goes to an ACR login server of the configured cloud and to no other host,
// over TLS, and the metadata service is never asked through a proxy. Every
// step ends, within a stated limit, in an answer or in one line that says
// which step it was and what to do.
//
// Start at [ReadConfig] and [New]. The stand-in for all of it is in azuretest.
package azure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// Username is the username that goes with every password that a [Source]
// gives: the registry's sign that the password is a refresh token
// (learn.microsoft.com/azure/container-registry/container-registry-authentication).
const Username = "00000000-0000-0000-0000-000000000000"

// Options bound the network and let a test stand in for it. The zero value is
// for production.
type Options struct {
	// IdentityLimit is how long the managed identity or Entra ID may take,
	// retries included; 0 means 20 s.
	IdentityLimit time.Duration
	// RequestLimit is how long each of the two requests to the registry may
	// take, retries included; 0 means 10 s.
	RequestLimit time.Duration
	// RetryDelay is the pause before the first retry where the server names
	// none; later pauses grow. 0 means 500 ms.
	RetryDelay time.Duration
	// DialContext connects to host:port; nil means a net.Dialer. Where a
	// proxy is used it is the proxy that is dialled.
	DialContext func(ctx context.Context, network, address string) (net.Conn, error)
	// RootCAs are trusted; nil means the system's.
	RootCAs *x509.CertPool
	// ReadFile reads a file that azure.json, the environment or Binding
	// names; nil means the machine's own files, up to 1 MiB each. Its error
	// names the file and is one line.
	ReadFile func(ctx context.Context, path string) ([]byte, error)
	// EnvironmentFile describes the cloud where that is AzureStackCloud; ""
	// means the file that $AZURE_ENVIRONMENT_FILEPATH names.
	EnvironmentFile string

	// ClientID and TenantID are the identity of a pod whose service account
	// is not annotated with its own.
	ClientID, TenantID string
	// RequireServiceAccount keeps the node's identity from answering where
	// the request carries no service-account token.
	RequireServiceAccount bool
	// Binding is who is given a pod's service-account token for one of
	// Entra ID; nil means Entra ID itself.
	Binding *Binding
	// Keep keeps the node's token of Entra ID from one registry to the
	// next; nil keeps none.
	Keep Keep
	// KeepCloud keeps where the endpoints of a private cloud are, in the form
	// of a credential, from one run to the next; nil keeps nothing.
	KeepCloud Keep

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
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostAnswer+1))
	if err == nil && len(data) > mostAnswer {
		err = fmt.Errorf("%s is longer than 1 MiB", path)
	}
	return data, err
}

// A Source gives credentials for the Azure Container Registries that one
// azure.json can reach. It keeps nothing from one call to the next but where
// the endpoints of a private cloud are.
type Source struct {
	config Config
	opts   Options
	lookup *lookup
}

var _ credential.Source = (*Source)(nil)

// New returns the source for a configuration. Nothing is asked yet.
func New(config Config, o Options) *Source {
	return &Source{config, o.withDefaults(), new(lookup)}
}

// Credential returns the username and password for ask.Registry, and when the
// password expires where it says so itself. The identity is that of the pod
// where ask carries its token, else the node's. It takes at most IdentityLimit
// and twice RequestLimit, and once more for a private cloud that was not looked
// up before; the error is one line, names the step, and wraps that of ctx where
// ctx ended it. Nothing is sent where the registry is not an ACR login server
// of the configured cloud.
func (s *Source) Credential(ctx context.Context, ask credential.Ask) (credential.Credential, error) {
	cloud, err := s.cloud(ctx)
	if err != nil {
		return credential.Credential{}, err
	}
	if !ask.Registry.ACRSuffixIn(cloud.suffix) {
		return credential.Credential{}, fmt.Errorf("%q is not a login server of Azure Container Registry (NAME.%s); give it another credential, or set cloud if the registry is in another one", ask.Registry, cloud.suffix)
	}
	identity, tenant, err := s.identity(ctx, ask, cloud)
	if err != nil {
		return credential.Credential{}, err
	}
	client := s.opts.web()
	defer client.CloseIdleConnections()
	r := registry{ask.Registry, sender{client, s.opts}}

	// The registry is asked first: a host that does not challenge as one
	// does is a reason not to fetch a token at all.
	end := begin(ctx, registryChallenge)
	to, err := r.challenge(ctx)
	end()
	if err != nil {
		return credential.Credential{}, err
	}
	access, err := s.keptToken(ctx, ask, func(ctx context.Context) (credential.Secret, error) { return identity.token(ctx, s.opts) })
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

// mostBytes is what a connection may bring. No answer here is larger than some
// KiB, and the identity library reads every answer to its end.
const mostBytes = 4 << 20

// An endless error is that of an answer which is not worth another try.
type endless struct{}

func (endless) Error() string { return "the answer has no end" }

// NonRetriable keeps azidentity from asking again.
func (endless) NonRetriable() {}

// client returns an HTTP client for one credential. It follows no redirect,
// since a redirected token is a token given away, and inflates nothing.
func (o Options) client(proxy func(*http.Request) (*url.URL, error)) *http.Client {
	return &http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     o.transport(proxy),
	}
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

// A boundedConn ends after a number of bytes read. The bound is on the
// connection and not on the body since azidentity wants an *http.Client over
// an *http.Transport for some kinds of managed identity.
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
