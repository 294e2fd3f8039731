package child

import (
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
)

// TestComplaintMasks has programs say secrets in many forms. Those go, and what
// helps stays.
func TestComplaintMasks(t *testing.T) {
	p := Program{Secrets: []credential.Secret{"plain words", "s3cr", "two\nlines"}}
	for said, want := range map[string]string{
		"region eu-west-1 not found":                 ": region eu-west-1 not found",
		"cannot get a token: connection refused":     ": cannot get a token: connection refused",
		"login with password=hunter2 failed":         ": login with password=[secret] failed",
		"Password: hunter2":                          ": Password: [secret]",
		`{"password": "hunter two", "user": "u"}`:    `: {"password": [secret], "user": "u"}`,
		`--client-secret='a b' is wrong`:             ": --client-secret=[secret] is wrong",
		"GET https://h/x?sig=abc&x=1":                ": GET https://h/x?sig=[secret]&x=1",
		"Authorization: Bearer abcdef":               ": Authorization: Bearer [secret]",
		"bad eyJhbGciOi.eyJzdWIi.c2ln here":          ": bad [secret] here",
		"dial https://user:hunter2@h.corp/v2/":       ": dial https://user:[secret]@h.corp/v2/",
		"you said plain words to me, and s3cr":       ": you said [secret] to me, and [secret]",
		"in base64 cGxhaW4gd29yZHM= and plain+words": ": in base64 [secret]= and [secret]",
		"two\nlines": ": [secret]",
		"my answer is answered words and 0therAnsw3r": ": my answer is [secret] and [secret]",
	} {
		got := p.complaint([]byte(said), []byte(`{"auth": {"h.corp": {"username": "u", "password": "answered words"}}, "list": ["0therAnsw3r"]}`))
		if got != want {
			t.Errorf("complaint(%q) = %q; want %q", said, got, want)
		}
	}
	if got := p.complaint([]byte("it is lowercasewords"), []byte(`{"auth": {"h": {"password": "lowercasewords`)); strings.Contains(got, "lowercasewords") {
		t.Errorf("with an answer that was cut short: %q", got)
	}
}
