// Package azuretest is a stand-in for the parts of Azure that a pull touches:
// the endpoints for managed identities, Entra ID, the identity bindings of a
// cluster, the resource manager of a private cloud, and Azure Container
// Registries with their token exchange and a real OCI registry. It also has
// [Source] registries, which accept no credential and record what they are
// offered.
//
// Everything is HTTP and TLS on loopback, with a CA of its own. A test points a
// built program at it through the environment alone ([Cloud.Env]), and a
// package through a dialer ([Cloud.DialContext]). Nothing leaves loopback: a
// connection to an unknown host fails and is recorded. Every component records
// its requests, and can be told to fail. Every token and secret contains
// [Canary], so that a test can look for it where it must not be.
//
// The package does not know the package that it tests. Start at [Start].
package azuretest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Canary is in every token and secret that the stand-in makes.
const Canary = "CANARY-"

// Resource is the audience that an access token for a registry must have, in
// every cloud (kubernetes-sigs/cloud-provider-azure,
// pkg/credentialprovider/azure_credentials.go).
const Resource = "https://containerregistry.azure.net"

// A Cloud is the running stand-in. Its methods are safe for concurrent use.
type Cloud struct {
	// Identity is the endpoint for managed identities, in the shape of the
	// instance metadata service and in that of App Service.
	Identity *Component
	// Entra is Entra ID, under the sign-in host of each cloud.
	Entra *Component
	// Proxy is the HTTP CONNECT proxy. It records each request it gets; its
	// faults answer CONNECT itself.
	Proxy *Component

	opts   Options
	tokens tokens
	ca     *authority
	caFile string
	closed chan struct{}
	once   sync.Once

	web, identity, proxy net.Listener
	servers              []*http.Server
	serving              sync.WaitGroup

	mu      sync.Mutex
	hosts   map[string]http.Handler // by host:port
	dialled map[string]bool         // addresses, host:port, that lead to web
	own     map[string]*authority   // of hosts that have a CA of their own
	refused []string
	tunnels map[net.Conn]struct{}
}

// signIn are the sign-in hosts of the public cloud, of China and of US
// Government.
var signIn = [...]string{"login.microsoftonline.com", "login.chinacloudapi.cn", "login.microsoftonline.us"}

// Start makes a stand-in and serves it on loopback ports that the system
// chooses. The caller must close it. The error is about a port, a key or the
// CA's file.
func Start(o Options) (*Cloud, error) {
	o = o.withDefaults()
	c := &Cloud{
		opts:    o,
		tokens:  tokens{now: o.Now, issued: map[string]claims{}},
		closed:  make(chan struct{}),
		hosts:   map[string]http.Handler{},
		dialled: map[string]bool{},
		own:     map[string]*authority{},
		tunnels: map[net.Conn]struct{}{},
	}
	c.Identity = c.component(c.identityHandler())
	c.Entra = c.component(c.entraHandler())
	c.Proxy = c.component(http.HandlerFunc(c.serveProxy))
	for _, host := range signIn {
		c.hosts[host+":443"] = c.Entra
	}
	for i, f := range c.opts.Federations {
		if f.Tenant == "" {
			c.opts.Federations[i].Tenant = o.Tenant
		}
	}
	var err error
	if c.ca, err = newAuthority(); err != nil {
		return nil, err
	}
	if c.caFile, err = c.ca.writeFile(); err != nil {
		return nil, err
	}
	if err := c.listen(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// listen opens the three ports and serves them.
func (c *Cloud) listen() error {
	for _, l := range []*net.Listener{&c.web, &c.identity, &c.proxy} {
		var err error
		if *l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	c.serve(tls.NewListener(c.web, &tls.Config{GetCertificate: c.certificate}), http.HandlerFunc(c.dispatch))
	c.serve(c.identity, c.Identity)
	c.serve(c.proxy, c.Proxy)
	return nil
}

func (c *Cloud) serve(l net.Listener, h http.Handler) {
	// A client that hangs up is the point of some tests, not worth a line.
	server := &http.Server{Handler: h, ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	c.servers = append(c.servers, server)
	c.serving.Go(func() { server.Serve(l) })
}

// Close ends every request, also those that hang, closes the ports and removes
// the CA's file. The error is about a port or the file; a second Close does
// nothing.
func (c *Cloud) Close() error {
	var err error
	c.once.Do(func() { err = c.close() })
	return err
}

func (c *Cloud) close() error {
	close(c.closed)
	var errs []error
	for _, server := range c.servers {
		errs = append(errs, server.Close())
	}
	c.mu.Lock()
	for conn := range c.tunnels {
		conn.Close()
	}
	c.mu.Unlock()
	c.serving.Wait()
	for _, l := range []net.Listener{c.web, c.identity, c.proxy} {
		if l != nil {
			l.Close()
		}
	}
	return errors.Join(append(errs, os.Remove(c.caFile))...)
}

// Env returns the environment, as KEY=VALUE, that points a program at the
// stand-in: the proxy, the CA, and the identity endpoint in the form of App
// Service. Add it to the program's own environment.
func (c *Cloud) Env() []string {
	proxy := "http://" + c.proxy.Addr().String()
	return []string{
		"HTTP_PROXY=" + proxy, "http_proxy=" + proxy,
		"HTTPS_PROXY=" + proxy, "https_proxy=" + proxy,
		"NO_PROXY=", "no_proxy=",
		"SSL_CERT_FILE=" + c.caFile,
		"IDENTITY_ENDPOINT=http://" + c.identity.Addr().String() + appServicePath,
		"IDENTITY_HEADER=" + identityHeader,
	}
}

// DialContext connects to the stand-in for address: to the instance metadata
// service at 169.254.169.254:80, to a host that it serves, or to a loopback
// port of its own. For any other address it fails, and records that.
func (c *Cloud) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var d net.Dialer
	if address == "169.254.169.254:80" {
		return d.DialContext(ctx, network, c.identity.Addr().String())
	}
	for _, l := range []net.Listener{c.identity, c.proxy} {
		if address == l.Addr().String() {
			return d.DialContext(ctx, network, address)
		}
	}
	if c.handler(address) == nil && !c.leads(address) {
		c.refuse(address)
		return nil, fmt.Errorf("%s is not part of the stand-in", address)
	}
	return d.DialContext(ctx, network, c.web.Addr().String())
}

// Refused returns the addresses, host:port, of connections that failed because
// they are not part of the stand-in.
func (c *Cloud) Refused() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.refused)
}

func (c *Cloud) refuse(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, address)
}

// add serves h as host, which may have a port. The error says that the host is
// taken.
func (c *Cloud) add(host string, h http.Handler) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := withPort(host)
	if c.hosts[key] != nil {
		return fmt.Errorf("host %q is already served", host)
	}
	c.hosts[key] = h
	return nil
}

// handler returns what serves address, host:port, or nil.
func (c *Cloud) handler(address string) http.Handler {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hosts[address]
}

// leads reports whether address is one where a host of another name is served.
func (c *Cloud) leads(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dialled[address]
}

func (c *Cloud) dispatch(w http.ResponseWriter, r *http.Request) {
	h := c.handler(withPort(r.Host))
	if h == nil {
		c.refuse(r.Host)
		http.Error(w, "no such host", http.StatusMisdirectedRequest)
		return
	}
	h.ServeHTTP(w, r)
}

// withPort adds the port of HTTPS to a host that has none.
func withPort(host string) string {
	host = strings.ToLower(host)
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return host + ":443"
}
