package pullsecret

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/dockerconfig"
)

// mostAnswer bounds an answer of the API, in bytes: etcd keeps at most 1.5 MiB of an
// object, and a secret's data is base64 in it.
const mostAnswer = 3 << 20

// An api is a connection to the API server as the node. It makes GET requests for
// single objects, and no others.
type api struct {
	server   *url.URL
	identity *identity
	client   *http.Client
	pause    time.Duration
}

// connect prepares to ask the API server as the node.
func (s *Source) connect(ctx context.Context) (*api, error) {
	config, err := s.kubeconfig(ctx)
	if err != nil {
		return nil, err
	}
	roots, err := config.roots(ctx, s.options)
	if err != nil {
		return nil, err
	}
	me, err := config.identity(ctx, s.options)
	if err != nil {
		return nil, err
	}
	proxy := http.ProxyFromEnvironment // as the kubelet's own client does
	if config.proxy != nil {
		proxy = http.ProxyURL(config.proxy)
	}
	transport := &http.Transport{
		Proxy: proxy,
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: config.serverName, Certificates: me.certificates,
		},
		MaxResponseHeaderBytes: 64 << 10,
	}
	return &api{config.server, me, &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, s.options.RetryDelay}, nil
}

func (a *api) close() { a.client.CloseIdleConnections() }

// An unavailable object is one that the API server does not give to this node: it is
// gone, not the node's, or not what it should be.
type unavailable struct{ text string }

func (e *unavailable) Error() string { return e.text }

// secretsOf returns the names of a pod's pull secrets. A pod's own list has those of
// its service account if it names none (Kubernetes v1.36.3,
// plugin/pkg/admission/serviceaccount/admission.go), so that is the whole truth.
func (a *api) secretsOf(ctx context.Context, who pod) ([]string, error) {
	var o struct {
		Metadata struct {
			UID string `json:"uid"`
		} `json:"metadata"`
		Spec struct {
			Secrets []struct {
				Name string `json:"name"`
			} `json:"imagePullSecrets"`
		} `json:"spec"`
	}
	// From etcd, not from a cache: that may still have an earlier pod of this name.
	err := a.get(ctx, a.at(who.namespace, "pods", who.pod), &o)
	switch {
	case err != nil:
		return nil, err
	case o.Metadata.UID != who.uid:
		return nil, &unavailable{"it was replaced by another pod of its name"}
	}
	var names []string
	for _, secret := range o.Spec.Secrets {
		if secret.Name != "" { // the API allows it, and the kubelet skips it too
			names = append(names, secret.Name)
		}
	}
	return names, nil
}

// secret returns the logins in a secret.
func (a *api) secret(ctx context.Context, namespace, name string) (*dockerconfig.Source, error) {
	if !isName(name) {
		return nil, &unavailable{"this cannot be the name of a secret"}
	}
	var o struct {
		Type string            `json:"type"`
		Data map[string][]byte `json:"data"`
	}
	at := a.at(namespace, "secrets", name)
	at.RawQuery = "resourceVersion=0" // from its cache, as for the kubelet's own requests
	err := a.get(ctx, at, &o)
	if err != nil && !errors.Is(err, errNotJSON) {
		return nil, err
	}
	secret := (*dockerconfig.Source)(nil)
	if err == nil {
		secret, err = dockerconfig.ParseSecret(o.Type, o.Data)
	}
	if err != nil {
		return nil, &unavailable{err.Error()}
	}
	return secret, nil
}

// get decodes one object. The API server may not know yet that a pod is on this
// node, so a refusal counts only if it is repeated.
func (a *api) get(ctx context.Context, at *url.URL, into any) error {
	status, body, err := a.getOnce(ctx, at)
	if status == http.StatusForbidden && err == nil {
		select {
		case <-time.After(a.pause):
		case <-ctx.Done():
			return a.fault(ctx, ctx.Err())
		}
		status, body, err = a.getOnce(ctx, at)
	}
	switch {
	case err != nil:
		return a.fault(ctx, err)
	case status == http.StatusNotFound:
		return &unavailable{"it does not exist"}
	case status == http.StatusForbidden:
		return &unavailable{"the API server does not show it to this node (status 403)"}
	case status == http.StatusUnauthorized:
		return fmt.Errorf("the API server %s does not accept the node's identity (status 401); check that the node's kubeconfig is the kubelet's own", a.server.Host)
	case status/100 == 3:
		return fmt.Errorf("the API server %s redirects (status %d), which is not followed; write the server itself into the node's kubeconfig", a.server.Host, status)
	case status != http.StatusOK:
		return fmt.Errorf("the API server %s answers with status %d; look at the API server", a.server.Host, status)
	case len(body) > mostAnswer:
		return fmt.Errorf("the API server %s answers with more than %d MiB; check which server that is", a.server.Host, mostAnswer>>20)
	case json.Unmarshal(body, into) != nil:
		return errNotJSON // of a secret, this may be its data: nothing of it is repeated
	}
	return nil
}

var errNotJSON = errors.New("the API server's answer is not the JSON of such an object; check which server that is")

// at returns where an object is.
func (a *api) at(namespace, resource, name string) *url.URL {
	return a.server.JoinPath("api", "v1", "namespaces", namespace, resource, name)
}

// getOnce makes one request.
func (a *api) getOnce(ctx context.Context, at *url.URL) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "mirrorcred")
	if a.identity.token != nil {
		req.Header.Set("Authorization", "Bearer "+a.identity.token.Reveal())
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, mostAnswer+1))
	return resp.StatusCode, body, err
}

// fault says why the API server cannot be asked.
func (a *api) fault(ctx context.Context, err error) error {
	at := "the API server " + a.server.Host
	var cert *tls.CertificateVerificationError
	var alert tls.AlertError
	var dns *net.DNSError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", at, context.Canceled)
	case ctx.Err() != nil:
		return fmt.Errorf("%s gives no answer; check that it runs, and the node's network", at)
	case errors.As(err, &cert):
		return fmt.Errorf("%s has a certificate that is not trusted: %v; check certificate-authority in the node's kubeconfig, and the node's clock", at, cert.Err)
	case errors.As(err, &alert):
		return fmt.Errorf("%s refuses the connection: %v; check the client certificate in the node's kubeconfig", at, alert)
	case errors.As(err, &dns):
		return fmt.Errorf("%s is not found; check the name, and the node's DNS", at)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%s refuses connections; check that it runs", at)
	}
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	return fmt.Errorf("%s cannot be asked: %w; check that it runs, and the node's network", at, err)
}
