package azure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mirrorcred/mirrorcred/internal/input"
)

// A trusting transport trusts the system's CAs. It first tries with the file that has
// all of them, and only then with the whole system pool: for that, crypto/x509 also
// reads a directory with a file for each CA, which takes longer and more memory than the
// rest of a run.
type trusting struct {
	first, all *http.Transport
	failed     atomic.Bool // first did
}

// RoundTrip implements [http.RoundTripper].
func (t *trusting) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.failed.Load() {
		return t.all.RoundTrip(req)
	}
	resp, err := t.first.RoundTrip(req)
	var cert *tls.CertificateVerificationError
	if !errors.As(err, &cert) {
		return resp, err
	}
	// Nothing was sent, since the handshake failed.
	t.failed.Store(true)
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return t.all.RoundTrip(again)
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *trusting) CloseIdleConnections() {
	t.first.CloseIdleConnections()
	t.all.CloseIdleConnections()
}

// web returns a client for servers outside the node: it uses the proxy that the
// environment names, and trusts the system's CAs.
func (o Options) web() *http.Client {
	client := o.client(http.ProxyFromEnvironment)
	if o.Transport != nil || o.RootCAs != nil || o.bundle == nil {
		return client
	}
	if o.RootCAs = o.bundle(); o.RootCAs != nil {
		client.Transport = &trusting{first: o.transport(http.ProxyFromEnvironment), all: client.Transport.(*http.Transport)}
	}
	return client
}

// bundles are where the systems keep their CAs in one file, in the order of
// crypto/x509 (root_linux.go).
var bundles = [...]string{
	"/etc/ssl/certs/ca-certificates.crt",
	"/etc/pki/tls/certs/ca-bundle.crt",
	"/etc/ssl/ca-bundle.pem",
	"/etc/pki/tls/cacert.pem",
	"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
	"/etc/ssl/cert.pem",
}

// newBundle returns a function that reads the file with the system's CAs on its first
// call, and returns nil if there is none.
func newBundle() func() *x509.CertPool {
	return sync.OnceValue(func() *x509.CertPool {
		files := bundles[:]
		if file := os.Getenv("SSL_CERT_FILE"); file != "" {
			files = []string{file}
		}
		for _, file := range files {
			data, err := input.ReadFile(file, 0)
			if err != nil {
				continue
			}
			if pool := x509.NewCertPool(); pool.AppendCertsFromPEM(data) {
				return pool
			}
			return nil // crypto/x509 reads no other file either
		}
		return nil
	})
}
