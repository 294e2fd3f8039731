package azuretest

import (
	"fmt"
	"net/http"
	"strings"
)

// SourceOptions say how a [Source] asks for a credential.
type SourceOptions struct {
	// Basic makes it ask for a username and password instead of a token.
	Basic bool
	// Realm is the URL of its token service; "" means /token on its own host.
	Realm string
}

// A Source is a stand-in for a registry that images name, such as
// mcr.microsoft.com. It answers every request with a challenge and accepts
// nothing, so a client with a credential offers it; see [Source.Offered].
type Source struct{ *Component }

// AddSource serves a source as host, which may have a port. It is an error if
// the host is in use.
func (c *Cloud) AddSource(host string, o SourceOptions) (*Source, error) {
	if o.Realm == "" {
		o.Realm = "https://" + host + "/token"
	}
	challenge := fmt.Sprintf(`Bearer realm="%s",service="%s"`, o.Realm, host)
	if o.Basic {
		challenge = fmt.Sprintf(`Basic realm="%s"`, host)
	}
	s := &Source{c.component(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Www-Authenticate", challenge)
		refuseRegistry(w, http.StatusUnauthorized, "authentication required")
	}))}
	return s, c.add(host, s.Component)
}

// Offered returns the requests with a credential of any kind: an Authorization
// header, a form with a password or a token, or [Canary] anywhere.
func (s *Source) Offered() []Request {
	var offered []Request
	for _, r := range s.Requests() {
		secret := r.Header.Get("Authorization") != "" || strings.Contains(fmt.Sprint(r), Canary)
		for key := range r.Form {
			secret = secret || key == "password" || strings.HasSuffix(key, "token")
		}
		if secret {
			offered = append(offered, r)
		}
	}
	return offered
}
