package azure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

// A trusting transport believes whom the system believes. It looks at the file
// with all of the system's CAs first, and at the rest where that does not do:
// crypto/x509 also reads a directory with a file for each CA, which takes
// longer and more memory than the whole of a run without it.
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
	// Nothing was sent: the handshake did not come to its end.
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

// web returns a client for those who are out on the network: asked through the
// proxy that the environment names, and believed by the system's CAs.
func (o Options) web() *http.Client {
	client := o.client(http.ProxyFromEnvironment)
	if o.RootCAs != nil || o.bundle == nil {
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

// newBundle returns what reads the file with the system's CAs when it is first
// asked, and gives nil where there is none.
func newBundle() func() *x509.CertPool {
	return sync.OnceValue(func() *x509.CertPool {
		files := bundles[:]
		if file := os.Getenv("SSL_CERT_FILE"); file != "" {
			files = []string{file}
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
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
