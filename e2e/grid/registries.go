package grid

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
)

// A user has this name at each registry; the password says which secret it is.
const username = "robot"

// basic is a secret as the value of an Authorization header.
func basic(s Secret) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+s.text()))
}

// The tokens that realms give. They are not secrets of the grid: each is worth
// something at its own registry only.
const (
	mirrorToken = "Bearer token-of-the-mirror"
	hubToken    = "Bearer token-of-the-hub"
)

// header is the value of the mirror's header in hosts.toml.
func (k Kind) header() string {
	if k == Token {
		return "Bearer " + Header.text()
	}
	return basic(Header)
}

// parties returns who does what in a case.
func (w *world) parties(c Case) map[Party]http.HandlerFunc {
	m := mirrorRegistry{c, w}
	all := map[Party]http.HandlerFunc{
		Mirror: m.serve, Realm: m.token, HubAuth: w.hubToken, Source: w.source(c.Behind),
	}
	return all
}

// A mirrorRegistry plays the mirror of a case.
type mirrorRegistry struct {
	Case
	*world
}

// accepts reports whether the mirror knows a login: the header's unless that has
// ended, and the kubelet's copy always.
func (m mirrorRegistry) accepts(authorization string) bool {
	return authorization == m.Kind.header() && m.State == Up || authorization == basic(Copy)
}

func (m mirrorRegistry) serve(rw http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	token := mirrorToken
	if m.Kind == Proxy {
		token = hubToken
	}
	status := map[State]int{S403: 403, S404: 404, S429: 429, S500: 500}[m.State]
	switch {
	case status != 0:
		rw.WriteHeader(status)
	case r.URL.Path == "/token":
		m.token(rw, r)
	case authorization == token, m.Kind.acceptsAtV2() && m.accepts(authorization):
		m.give(Mirror, rw, r)
	case m.Kind == Basic, authorization != "" && slices.Contains([]Kind{Harbor, Refresh}, m.Kind):
		challenge(rw, `Basic realm="the mirror"`)
	case m.Kind == Proxy:
		challenge(rw, bearer(m.url(HubAuth, "/token")))
	case m.Kind == Elsewhere:
		challenge(rw, bearer(m.url(Realm, "/token")))
	default:
		challenge(rw, bearer(m.url(Mirror, "/token")))
	}
}

// token plays the mirror's realm.
func (m mirrorRegistry) token(rw http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	form := basicOf(r.PostFormValue("username"), r.PostFormValue("password"))
	refusal := map[Kind]int{Realm400: 400, Realm401: 401, Artifactory: 401, Realm404: 404, Token: 404, Harbor: 405, Realm405: 405}[m.Kind]
	switch {
	case r.Method != http.MethodPost:
	case refusal != 0:
		rw.WriteHeader(refusal)
		return
	case m.Kind == RealmForm, authorization == "":
		authorization = form
	}
	if !m.accepts(authorization) {
		challenge(rw, `Basic realm="the realm"`)
		return
	}
	giveToken(rw, mirrorToken)
}

// hubToken plays the realm of Docker Hub: it gives anybody a token for a public
// image, but none to a login that it does not know.
func (w *world) hubToken(rw http.ResponseWriter, r *http.Request) {
	authorization := r.Header.Get("Authorization")
	if r.Method == http.MethodPost {
		authorization = basicOf(r.PostFormValue("username"), r.PostFormValue("password"))
	}
	if authorization != "" && authorization != basic(Pod) {
		challenge(rw, `Basic realm="the hub"`)
		return
	}
	giveToken(rw, hubToken)
}

// source plays the source.
func (w *world) source(b Behind) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		switch {
		case b == Public, b == Private && authorization == basic(Pod), b == Hub && authorization == hubToken:
			w.give(Source, rw, r)
		case b == Hub:
			challenge(rw, bearer(w.url(HubAuth, "/token")))
		default:
			challenge(rw, `Basic realm="the source"`)
		}
	}
}

func basicOf(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func bearer(realm string) string {
	return fmt.Sprintf(`Bearer realm=%q,service="registry",scope="repository:%s:pull"`, realm, repository)
}

func challenge(rw http.ResponseWriter, text string) {
	rw.Header().Set("WWW-Authenticate", text)
	rw.WriteHeader(http.StatusUnauthorized)
}

// giveToken answers with the token of an Authorization header.
func giveToken(rw http.ResponseWriter, header string) {
	token := header[len("Bearer "):]
	fmt.Fprintf(rw, `{"token":%q,"access_token":%q,"expires_in":300}`, token, token)
}
