package azuretest

import (
	"net/http"
	"slices"
	"strings"
)

// AddSignIn serves Entra ID under another host, that of a private cloud. It is
// an error if the host is in use.
func (c *Cloud) AddSignIn(host string) error { return c.add(host, c.Entra) }

// entraHandler serves the part of Entra ID that an application uses
// (learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow).
func (c *Cloud) entraHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /common/discovery/instance", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{
			"tenant_discovery_endpoint": "https://" + r.Host + "/" + c.opts.Tenant + "/v2.0/.well-known/openid-configuration",
			"api-version":               "1.1",
			"metadata": []any{map[string]any{
				"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host},
			}},
		})
	})
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host + "/" + r.PathValue("tenant")
		writeJSON(w, http.StatusOK, map[string]string{
			"token_endpoint":         base + "/oauth2/v2.0/token",
			"authorization_endpoint": base + "/oauth2/v2.0/authorize",
			"issuer":                 base + "/v2.0",
		})
	})
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", c.serveEntraToken)
	return mux
}

func (c *Cloud) serveEntraToken(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, description string) {
		writeJSON(w, status, map[string]any{"error": code, "error_description": description + "\r\nTrace ID: 0\r\nTimestamp: now"})
	}
	id, tenant := r.PostFormValue("client_id"), r.PathValue("tenant")
	switch {
	case !c.hasTenant(tenant):
		refuse(http.StatusBadRequest, "invalid_request", "AADSTS90002: Tenant '"+tenant+"' not found.")
	case r.PostFormValue("grant_type") != "client_credentials":
		refuse(http.StatusBadRequest, "unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
	case !slices.Contains(strings.Fields(r.PostFormValue("scope")), Resource+"/.default"):
		refuse(http.StatusBadRequest, "invalid_scope", "AADSTS70011: The provided value for scope is not valid.")
	case !c.hasApplication(id, tenant):
		refuse(http.StatusBadRequest, "unauthorized_client", "AADSTS700016: Application with identifier '"+id+"' was not found in the directory.")
	default:
		if why := c.prove(r, id, tenant); why != "" {
			refuse(http.StatusUnauthorized, "invalid_client", why)
			return
		}
		writeJSON(w, http.StatusOK, c.entraToken(id, tenant))
	}
}

// entraToken is the answer to an application that has proved itself.
func (c *Cloud) entraToken(id, tenant string) map[string]any {
	return map[string]any{
		"access_token":   c.tokens.issue(claims{Kind: "entra", Audience: Resource, Subject: id, Tenant: tenant}, entraLife),
		"expires_in":     int(entraLife.Seconds()) - 1,
		"ext_expires_in": int(entraLife.Seconds()) - 1,
		"token_type":     "Bearer",
	}
}

func (c *Cloud) hasTenant(tenant string) bool {
	return tenant == c.opts.Tenant || slices.ContainsFunc(c.opts.Federations, func(f Federation) bool { return f.Tenant == tenant })
}

func (c *Cloud) hasApplication(id, tenant string) bool {
	_, federated := c.federation(id, tenant)
	return federated || id == c.opts.ClientID && tenant == c.opts.Tenant
}

func (c *Cloud) federation(id, tenant string) (Federation, bool) {
	i := slices.IndexFunc(c.opts.Federations, func(f Federation) bool { return f.ClientID == id && f.Tenant == tenant })
	if i < 0 {
		return Federation{}, false
	}
	return c.opts.Federations[i], true
}
