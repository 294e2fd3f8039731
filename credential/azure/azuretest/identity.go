package azuretest

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	imdsPath       = "/metadata/identity/oauth2/token"
	appServicePath = "/msi/token"
	identityHeader = Canary + "identity-header"
	entraLife      = 24 * time.Hour
)

// identityHandler serves managed identities as the instance metadata service
// does, and as App Service does
// (learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token
// and learn.microsoft.com/azure/app-service/overview-managed-identity).
func (c *Cloud) identityHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(imdsPath, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet:
			refuseIdentity(w, http.StatusMethodNotAllowed, "invalid_request", "Method not allowed")
		case r.Header.Get("X-Forwarded-For") != "":
			// The service refuses what came through a proxy.
			refuseIdentity(w, http.StatusBadRequest, "invalid_request", "X-Forwarded-For is not accepted")
		case r.Header.Get("Metadata") != "true":
			refuseIdentity(w, http.StatusBadRequest, "invalid_request", "Required metadata header not specified")
		default:
			c.serveIdentity(w, r, "2018-02-01")
		}
	})
	mux.HandleFunc(appServicePath, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-IDENTITY-HEADER") != identityHeader {
			refuseIdentity(w, http.StatusUnauthorized, "unauthorized", "X-IDENTITY-HEADER is missing or wrong")
			return
		}
		c.serveIdentity(w, r, "2019-08-01")
	})
	return mux
}

func (c *Cloud) serveIdentity(w http.ResponseWriter, r *http.Request, version string) {
	q := r.URL.Query()
	if got := q.Get("api-version"); got != version {
		refuseIdentity(w, http.StatusBadRequest, "bad_request_102", "Required audience parameter or api-version missing; supported is "+version)
		return
	}
	if got := q.Get("resource"); got != Resource {
		refuseIdentity(w, http.StatusBadRequest, "invalid_resource", "AADSTS500011: The resource principal named "+got+" was not found in the tenant")
		return
	}
	clientID, ok := c.identityFor(q.Get("client_id"), q.Get("msi_res_id")+q.Get("mi_res_id"))
	if !ok {
		refuseIdentity(w, http.StatusBadRequest, "invalid_request", "Identity not found")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{
		"access_token": c.tokens.issue(claims{Kind: "entra", Audience: Resource, Subject: clientID, Tenant: c.opts.Tenant}, entraLife),
		"client_id":    clientID,
		"expires_in":   strconv.Itoa(int(entraLife.Seconds()) - 1),
		"expires_on":   strconv.FormatInt(c.opts.Now().Add(entraLife).Unix(), 10),
		"resource":     Resource,
		"token_type":   "Bearer",
	})
}

// identityFor returns the client id of the identity that is asked for; both
// arguments empty ask for the system's.
func (c *Cloud) identityFor(clientID, resourceID string) (string, bool) {
	if clientID == "" && resourceID == "" {
		return "system", !c.opts.NoSystemIdentity
	}
	for _, id := range c.opts.Identities {
		if clientID != "" && strings.EqualFold(id.ClientID, clientID) || resourceID != "" && strings.EqualFold(id.ResourceID, resourceID) {
			return id.ClientID, true
		}
	}
	return "", false
}

func refuseIdentity(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]string{"error": code, "error_description": description})
}
