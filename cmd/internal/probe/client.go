package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	neturl "net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http/httpproxy"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/internal/input"
)

// ProxyOf returns the proxy that a program with that environment uses, as Go's
// programs read it.
func ProxyOf(env []string) func(*http.Request) (*neturl.URL, error) {
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
// relative to the directory of hosts.toml.
func tlsConfig(root *input.Root, top, dir string, e hosts.Endpoint) (*tls.Config, error) {
	at := func(name string) string {
		if filepath.IsAbs(name) {
			return filepath.Join(top, "/", name)
		}
		return filepath.Join(dir, name)
	}
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

// A proxyError is a proxy that refuses to connect.
type proxyError struct {
	proxy  string
	status string
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy %s answers %s", e.proxy, e.status)
}

func newClient(c *tls.Config, proxy func(*http.Request) (*neturl.URL, error)) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			TLSClientConfig: c, Proxy: proxy, DialContext: (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
			MaxConnsPerHost: 1,
			OnProxyConnectResponse: func(_ context.Context, proxy *neturl.URL, _ *http.Request, answer *http.Response) error {
				if answer.StatusCode == http.StatusOK {
					return nil
				}
				return &proxyError{proxy.Host, answer.Status}
			},
		},
		// A redirect leads to storage: the registry has served the request.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// judgeFailure returns the finding about a request that got no answer.
func judgeFailure(where string, err error, now time.Time) doctor.Finding {
	f := doctor.Finding{Where: where}
	var dns *net.DNSError
	var proxy *proxyError
	var op *net.OpError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var alert tls.AlertError
	var record tls.RecordHeaderError
	var verify *tls.CertificateVerificationError
	switch {
	case errors.As(err, &proxy):
		f.Name, f.Text, f.Repair = doctor.ProbeProxy, proxy.Error(), "allow the registry there, or add it to NO_PROXY of containerd's unit and restart containerd"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		f.Name, f.Text, f.Repair = doctor.ProbeProxy, "the proxy of containerd's environment cannot be reached: "+op.Err.Error(), "correct HTTPS_PROXY in containerd's unit, and restart containerd"
	case errors.As(err, &dns):
		f.Name, f.Text, f.Repair = doctor.ProbeDNS, fmt.Sprintf("the name %s is not found: %s", dns.Name, dns.Err), "correct the target in the map, or the node's DNS"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		f.Name, f.Text = doctor.ProbeClock, fmt.Sprintf("its certificate is valid from %s, and this node's clock says %s", stamp(invalid.Cert.NotBefore), stamp(now))
		f.Repair = "set the clock: timedatectl set-ntp true"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		f.Name, f.Text = doctor.ProbeTLS, fmt.Sprintf("its certificate ended on %s, and this node's clock says %s", stamp(invalid.Cert.NotAfter), stamp(now))
		f.Repair = "renew the registry's certificate, or set this node's clock"
	case errors.As(err, &unknown):
		f.Name, f.Text, f.Repair = doctor.ProbeTLS, "its certificate is signed by a CA that this node does not know", "name that CA as ca under [registry] in the map"
	case errors.As(err, &hostname):
		f.Name, f.Text, f.Repair = doctor.ProbeTLS, "its certificate is for another name: "+oneLine(hostname.Error()), "write the name of the certificate as the target in the map"
	case errors.As(err, &record):
		f.Name, f.Text, f.Repair = doctor.ProbeTLS, "it does not speak TLS on this port", "correct the port, or write http:// in the map if it really has no TLS"
	case errors.As(err, &alert), errors.As(err, &verify), errors.As(err, &invalid):
		f.Name, f.Text, f.Repair = doctor.ProbeTLS, "TLS fails: "+oneLine(lastError(err)), "check ca and client of the registry in the map"
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.ECONNRESET):
		f.Name, f.Text, f.Repair = doctor.ProbeRefused, "cannot connect to it: "+oneLine(lastError(err)), "check the port, and the firewall between this node and the registry"
	case errors.Is(err, errTooLong), errors.Is(err, context.DeadlineExceeded):
		f.Name, f.Text, f.Repair = doctor.ProbeTimeout, "it does not answer in time", "check the firewall between this node and the registry"
	default:
		f.Name, f.Text, f.Repair = doctor.ProbeServerError, "the request fails: "+oneLine(lastError(err)), "check the registry's own log"
	}
	return f
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// lastError returns an error without the URL that net/http puts in front.
func lastError(err error) string {
	var u *neturl.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}
