package azure

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Binding is an AKS identity binding: an endpoint of the cluster that
// exchanges a pod's token for one of the identity that is bound to it. The
// endpoint has a name at the API server, and a CA of its own
// (learn.microsoft.com/azure/aks/identity-bindings-concepts). [ParseBinding]
// makes one.
type Binding struct {
	name    string // as TLS and HTTP have it
	address string // host:port
	ca      string // path of PEM
}

// ParseBinding returns the binding with the name of its endpoint, the IP
// address or host name of the API server, and the path of its CA. The address
// may have a port; the default is 443.
func ParseBinding(name, apiServer, ca string) (*Binding, error) {
	host, err := mirror.ParseHost(name)
	if err != nil || host.Port() != "" {
		return nil, fmt.Errorf("%q is not the name of an identity binding's endpoint; write a host name without scheme and port", name)
	}
	b := &Binding{name: host.Hostname(), ca: ca}
	if ip, err := netip.ParseAddr(apiServer); err == nil {
		b.address = net.JoinHostPort(ip.String(), "443")
		return b, nil
	}
	server, err := mirror.ParseHost(apiServer)
	if err != nil {
		return nil, fmt.Errorf("%q is not the address of an API server; write an IP address or a host name", apiServer)
	}
	port := server.Port()
	if port == "" {
		port = "443"
	}
	b.address = net.JoinHostPort(strings.Trim(server.Hostname(), "[]"), port)
	return b, nil
}

// A bound identity is one that the cluster exchanges a pod's token for.
type bound struct {
	at        *Binding
	roots     *x509.CertPool
	client    string
	assertion *credential.Secret
}

// bound returns the identity that is bound to the pod.
func (s *Source) bound(ctx context.Context, client string, token credential.Secret) (identity, error) {
	at := s.opts.Binding
	pem, err := s.opts.ReadFile(ctx, at.ca)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name the file with the CA of the API server", identityBinding, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s holds no certificate as PEM; name the file with the CA of the API server", identityBinding, at.ca)
	}
	return bound{at, roots, client, &token}, nil
}

// token asks as acr-credential-provider does (kubernetes-sigs/cloud-provider-azure,
// pkg/credentialprovider/identity_bindings_credentials.go).
func (b bound) token(ctx context.Context, o Options) (credential.Secret, error) {
	step := startStep(identityBinding, b.at.name+" at "+b.at.address, *b.assertion)
	ctx, cancel := context.WithTimeout(ctx, o.IdentityLimit)
	defer cancel()
	client := b.dialler(o)
	defer client.CloseIdleConnections()
	resp, err := sender{client, o}.send(ctx, step, request{http.MethodPost, "https://" + b.at.name + "/", url.Values{
		"grant_type":            {"client_credentials"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		"client_assertion":      {b.assertion.Reveal()},
		"client_id":             {b.client},
		"scope":                 {scope},
	}})
	switch {
	case err != nil:
		return "", err
	case resp.status != http.StatusOK:
		return "", step.status(resp, serverMessage(resp.body), bindingRemedy(resp))
	case len(resp.body) > mostAnswer:
		return "", step.fault("an answer of more than 1 MiB", unexpected)
	}
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(resp.body, &answer) != nil {
		return "", step.fault("an answer that is not the JSON of a token", unexpected)
	}
	if !credential.Secret(answer.AccessToken).IsToken() {
		return "", step.fault("a token that is empty or holds spaces or control characters", unexpected)
	}
	return credential.Secret(answer.AccessToken), nil
}

// dialler returns a client that connects to the API server whatever the name. It uses
// no proxy, because the API server is the cluster's own.
func (b bound) dialler(o Options) *http.Client {
	dial := o.DialContext
	o.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, b.at.address)
	}
	o.RootCAs = b.roots
	return o.client(noProxy)
}

func bindingRemedy(resp response) string {
	switch {
	case resp.status == http.StatusTooManyRequests || resp.status >= 500:
		return "try again later"
	case resp.status/100 == 3:
		return unexpected
	}
	return "check that the cluster has an identity binding for the client id, and that the pod's service account may use it"
}
