package azuretest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"
)

// claims are what a token says and grants.
type claims struct {
	Kind     string   `json:"kind"` // "entra", "refresh" or "access"
	Audience string   `json:"aud"`
	Subject  string   `json:"sub,omitempty"`
	Tenant   string   `json:"tid,omitempty"`
	Access   []access `json:"access,omitempty"`
	Expires  int64    `json:"exp"` // seconds since 1970
	ID       string   `json:"jti"`
}

// An access is one scope of a registry token.
type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// tokens knows every token that the stand-in gave out.
type tokens struct {
	now func() time.Time

	mu     sync.Mutex
	issued map[string]claims
}

// issue returns a new token for c, shaped as a JWT. Its signature is not one:
// it is the canary, in plain text, and tokens are known by being remembered.
func (t *tokens) issue(c claims, life time.Duration) string {
	c.ID = rand.Text()
	c.Expires = t.now().Add(life).Unix()
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err) // claims are strings and numbers
	}
	enc := base64.RawURLEncoding
	token := enc.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + enc.EncodeToString(payload) + "." + Canary + c.Kind + "-" + c.ID
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issued[token] = c
	return token
}

// check returns the claims of a token of a kind for an audience, and false
// if it was never issued or has expired.
func (t *tokens) check(token, kind, audience string) (claims, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c, ok := t.issued[token]
	return c, ok && c.Kind == kind && c.Audience == audience && t.now().Unix() < c.Expires
}

// allows reports whether the token may do action in a repository.
func (c claims) allows(repository, action string) bool {
	for _, a := range c.Access {
		if a.Type == "repository" && a.Name == repository && slices.Contains(a.Actions, action) {
			return true
		}
	}
	return false
}

// writeJSON answers with a status and v as JSON.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}
