package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	neturl "net/url"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/client"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// judgeFailure returns the finding about a request that got no answer.
func judgeFailure(where string, err error, now time.Time) doctor.Finding {
	f := doctor.Finding{Where: where}
	var dns *net.DNSError
	var proxy *client.ProxyError
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
		f.Name, f.Text = doctor.ProbeTLS, fmt.Sprintf("its certificate expired on %s, and this node's clock says %s", stamp(invalid.Cert.NotAfter), stamp(now))
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
