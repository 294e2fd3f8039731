package azuretest

import (
	"cmp"
	"encoding/pem"
	"net/http"
	"strings"
)

// A Binding is a stand-in for the endpoint of a cluster's API server that
// returns the tokens of identity bindings. Its certificate is signed by a CA of
// its own.
type Binding struct {
	*Component
	// CA is the CA's certificate, as PEM.
	CA []byte
	// Address is the loopback address, host:port, for programs.
	Address string

	cloud  *Cloud
	grants []Federation
}

// AddBinding serves an endpoint for identity bindings. name is its host name;
// [Cloud.DialContext] connects to it for address, host:port. It returns tokens
// for the identities in grants. It is an error if the host is in use, or if no
// key can be made.
func (c *Cloud) AddBinding(name, address string, grants ...Federation) (*Binding, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.own[strings.ToLower(name)] = ca
	c.dialled[address] = true
	c.mu.Unlock()
	b := &Binding{
		CA:      pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}),
		Address: c.web.Addr().String(),
		cloud:   c,
		grants:  grants,
	}
	b.Component = c.component(http.HandlerFunc(b.serve))
	return b, c.add(name, b.Component)
}

func (b *Binding) serve(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, description string) {
		writeJSON(w, status, map[string]string{"error": "invalid_request", "error_description": description})
	}
	id := r.PostFormValue("client_id")
	tenant, ok := "", false
	for _, f := range b.grants {
		if f.ClientID == id && f.Assertion == r.PostFormValue("client_assertion") {
			tenant, ok = cmp.Or(f.Tenant, b.cloud.opts.Tenant), true
		}
	}
	switch {
	case r.Method != http.MethodPost, r.URL.RequestURI() != "/":
		refuse(http.StatusNotFound, "no such endpoint")
	case r.PostFormValue("grant_type") != "client_credentials", r.PostFormValue("client_assertion_type") != assertionType, r.PostFormValue("scope") != Resource+"/.default":
		refuse(http.StatusBadRequest, "the form is not that of a token request")
	case !ok:
		refuse(http.StatusUnauthorized, "no identity binding for the presented service account token")
	default:
		writeJSON(w, http.StatusOK, b.cloud.entraToken(id, tenant))
	}
}
