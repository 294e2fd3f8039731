package azuretest

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"
)

// TokenUsername is the username with a registry's refresh token
// (learn.microsoft.com/azure/container-registry/container-registry-authentication).
const TokenUsername = "00000000-0000-0000-0000-000000000000"

// ACROptions say how a registry differs from a private one.
type ACROptions struct {
	// AllowAnonymous gives pull tokens to everyone.
	AllowAnonymous bool
	// Open serves pulls without a token.
	Open bool
	// Accept judges a username and a password that are not Azure's, so that this can
	// stand in for a registry of another kind; nil refuses them.
	Accept func(username, password string) bool
}

// An ACR is one Azure Container Registry: its token service, and a real OCI
// registry in memory that checks the tokens.
type ACR struct {
	*Component

	cloud *Cloud
	host  string
	opts  ACROptions
	store http.Handler
}

// AddACR serves a registry as loginServer, which may be any host and may have a
// port. It is an error if the host is in use.
func (c *Cloud) AddACR(loginServer string, o ACROptions) (*ACR, error) {
	a := &ACR{cloud: c, host: loginServer, opts: o, store: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /oauth2/exchange", a.serveExchange)
	mux.HandleFunc("/oauth2/token", a.serveToken)
	mux.HandleFunc("/", a.serveRegistry)
	a.Component = c.component(mux)
	return a, c.add(loginServer, a.Component)
}

// serveExchange gives a refresh token for an access token of Entra ID.
func (a *ACR) serveExchange(w http.ResponseWriter, r *http.Request) {
	if grant := r.PostFormValue("grant_type"); grant != "access_token_refresh_token" && grant != "access_token" {
		refuseRegistry(w, http.StatusBadRequest, "grant_type is not supported")
		return
	}
	c, ok := a.cloud.tokens.check(r.PostFormValue("access_token"), "entra", Resource)
	switch {
	case !ok:
		refuseRegistry(w, http.StatusUnauthorized, "the access token is not valid")
	case r.PostFormValue("service") != a.host:
		refuseRegistry(w, http.StatusBadRequest, "service is not this registry")
	case r.PostFormValue("tenant") != c.Tenant:
		refuseRegistry(w, http.StatusUnauthorized, "the access token is of another tenant")
	default:
		token := a.cloud.tokens.issue(claims{Kind: "refresh", Audience: a.host, Subject: c.Subject}, a.cloud.opts.RefreshLife)
		writeJSON(w, http.StatusOK, map[string]string{"refresh_token": token})
	}
}

// serveToken gives an access token for any number of scopes, asked by GET with
// Basic or by POST with a password or a refresh token (the Docker registry's
// token protocol, distribution.github.io/distribution/spec/auth/).
func (a *ACR) serveToken(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuseRegistry(w, http.StatusBadRequest, "the form cannot be read")
		return
	}
	if service := r.Form.Get("service"); service != a.host {
		refuseRegistry(w, http.StatusBadRequest, "service is not this registry")
		return
	}
	if !a.known(r) {
		refuseRegistry(w, http.StatusUnauthorized, "authentication required")
		return
	}
	token := a.cloud.tokens.issue(claims{Kind: "access", Audience: a.host, Access: granted(r.Form["scope"])}, a.cloud.opts.AccessLife)
	writeJSON(w, http.StatusOK, map[string]string{"access_token": token})
}

// known reports whether a request for a token comes from a client that may
// pull.
func (a *ACR) known(r *http.Request) bool {
	var username, password string
	switch r.Form.Get("grant_type") {
	case "password":
		username, password = r.PostForm.Get("username"), r.PostForm.Get("password")
	case "refresh_token":
		username, password = TokenUsername, r.PostForm.Get("refresh_token")
	default:
		username, password, _ = r.BasicAuth()
	}
	if username == "" && password == "" {
		return a.opts.AllowAnonymous
	}
	if username == a.cloud.opts.ClientID {
		return password == a.cloud.opts.ClientSecret
	}
	if a.opts.Accept != nil && username != TokenUsername {
		return a.opts.Accept(username, password)
	}
	_, ok := a.cloud.tokens.check(password, "refresh", a.host)
	return ok && username == TokenUsername
}

// granted parses scopes, each of which may hold several apart by spaces, and
// grants the pulling ones: the role is AcrPull.
func granted(scopes []string) []access {
	var list []access
	for _, scope := range strings.Fields(strings.Join(scopes, " ")) {
		kind, rest, _ := strings.Cut(scope, ":")
		i := strings.LastIndexByte(rest, ':')
		if kind != "repository" || i < 0 {
			continue
		}
		a := access{Type: kind, Name: rest[:i]}
		if slices.Contains(strings.Split(rest[i+1:], ","), "pull") {
			a.Actions = []string{"pull"}
		}
		list = append(list, a)
	}
	return list
}

// serveRegistry lets a request through to the OCI registry if its bearer
// token is for this registry, repository and action.
func (a *ACR) serveRegistry(w http.ResponseWriter, r *http.Request) {
	repository := repositoryOf(r.URL)
	action := "push"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		action = "pull"
	}
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c, ok := a.cloud.tokens.check(token, "access", a.host)
	open := a.opts.Open && action == "pull"
	if open || ok && (repository == "" && r.URL.Path == "/v2/" || c.allows(repository, action)) {
		a.store.ServeHTTP(w, r)
		return
	}
	challenge := fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%s"`, a.host, a.host)
	if repository != "" {
		challenge += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, action)
	}
	switch {
	case ok:
		challenge += `,error="insufficient_scope"`
	case given:
		challenge += `,error="invalid_token"`
	}
	w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	w.Header().Set("Www-Authenticate", challenge)
	refuseRegistry(w, http.StatusUnauthorized, "authentication required, visit https://aka.ms/acr/authorization for more information.")
}

// repositoryOf returns the repository that a URL of the distribution API is
// about, or "".
func repositoryOf(u *url.URL) string {
	path, ok := strings.CutPrefix(u.Path, "/v2/")
	if !ok {
		return ""
	}
	for _, part := range []string{"/manifests/", "/blobs/", "/tags/", "/referrers/"} {
		if i := strings.LastIndex(path, part); i > 0 {
			return path[:i]
		}
	}
	return ""
}

// refuseRegistry answers with an error of the distribution specification.
func refuseRegistry(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{
		"errors": []any{map[string]string{"code": "UNAUTHORIZED", "message": message}},
	})
}
