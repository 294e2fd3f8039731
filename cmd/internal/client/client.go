// Package client makes the HTTP client that containerd would use for a registry: with
// the same TLS files, the same time to connect and the same proxy.
//
// It sends nothing by itself, and knows no credential. Start at [New].
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	neturl "net/url"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Files say where the TLS files of a registry are.
type Files struct {
	Root string // all paths are below it, and no link leaves it; "" is the machine itself
	Dir  string // that of hosts.toml on this machine, which relative paths begin at
}

// dialTimeout is how long containerd tries to connect unless hosts.toml says otherwise
// (core/remotes/docker/config/hosts.go, v2.4.2).
const dialTimeout = 30 * time.Second

// New returns the client for a registry. proxy says which proxy to use; nil means none.
// The client follows no redirect: one leads to storage, so the registry has answered.
func New(f Files, e hosts.Endpoint, proxy func(*http.Request) (*neturl.URL, error)) (*http.Client, error) {
	c, err := tlsConfig(f, e)
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: c, Proxy: proxy, MaxConnsPerHost: 1,
			DialContext: (&net.Dialer{Timeout: cmp.Or(e.DialTimeout, dialTimeout)}).DialContext,
			OnProxyConnectResponse: func(_ context.Context, proxy *neturl.URL, _ *http.Request, answer *http.Response) error {
				if answer.StatusCode == http.StatusOK {
					return nil
				}
				return &ProxyError{proxy.Host, answer.Status}
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Endpoint returns a target of the map as containerd dials it, still without headers.
func Endpoint(t mirror.Target) hosts.Endpoint {
	s := t.Settings
	return hosts.Endpoint{
		Scheme: t.Scheme(), Host: t.Host().String(), Path: t.API(), Header: map[string][]string{},
		CA: s.CA, Client: s.Client, SkipVerify: s.SkipVerify, DialTimeout: s.DialTimeout,
	}
}

// API returns the address at which a registry says that it is one: "/v2/" before the
// prefix of the target's repositories.
func API(e hosts.Endpoint) string {
	root := e.Path
	if i := strings.Index(root+"/", "/v2/"); i >= 0 {
		root = root[:i] + "/v2/"
	}
	return e.Scheme + "://" + e.Host + root
}

// A ProxyError is a proxy that refuses to connect.
type ProxyError struct{ Proxy, Status string }

// Error names the proxy and its answer.
func (e *ProxyError) Error() string {
	return fmt.Sprintf("the proxy %s answers %s", e.Proxy, e.Status)
}

// Proxy returns the proxy that a program with that environment uses, as Go's
// programs read it.
func Proxy(env []string) func(*http.Request) (*neturl.URL, error) {
	get := func(names ...string) string {
		for _, name := range names {
			for _, entry := range env {
				if value, ok := strings.CutPrefix(entry, name+"="); ok && value != "" {
					return value
				}
			}
		}
		return ""
	}
	config := httpproxy.Config{
		HTTPProxy: get("HTTP_PROXY", "http_proxy"), HTTPSProxy: get("HTTPS_PROXY", "https_proxy"), NoProxy: get("NO_PROXY", "no_proxy"),
	}
	f := config.ProxyFunc()
	return func(r *http.Request) (*neturl.URL, error) { return f(r.URL) }
}

// tlsConfig returns the TLS configuration that containerd uses for an endpoint
// (core/remotes/docker/config/hosts.go, v2.4.2, updateTLSConfigFromHost). Paths are
// relative to f.Dir.
func tlsConfig(f Files, e hosts.Endpoint) (*tls.Config, error) {
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return filepath.Join(f.Root, "/", name)
		}
		return filepath.Join(f.Dir, name)
	}
	root := input.NewRoot(f.Root)
	c := &tls.Config{InsecureSkipVerify: e.SkipVerify} // as the map says
	for _, name := range e.CA {
		data, err := root.ReadFile(at(name), 0)
		if err != nil {
			return nil, err
		}
		if c.RootCAs == nil {
			if c.RootCAs, err = x509.SystemCertPool(); err != nil {
				c.RootCAs = x509.NewCertPool()
			}
		}
		if !c.RootCAs.AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("%s holds no certificate in PEM", at(name))
		}
	}
	for _, pair := range e.Client {
		key := pair[1]
		if key == "" {
			key = pair[0]
		}
		var pem [2][]byte
		for i, name := range []string{pair[0], key} {
			var err error
			if pem[i], err = root.ReadFile(at(name), 0); err != nil {
				return nil, err
			}
		}
		cert, err := tls.X509KeyPair(pem[0], pem[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", at(pair[0]), err)
		}
		c.Certificates = append(c.Certificates, cert)
	}
	return c, nil
}
