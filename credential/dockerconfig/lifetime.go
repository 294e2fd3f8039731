package dockerconfig

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential"
)

// Lifetime returns when the password for the query was issued and when it expires. Each
// is zero if the password does not say: only a JSON web token does (RFC 7519). A
// helper's passwords are not asked for.
func (s *Source) Lifetime(query credential.Query) (from, until time.Time) {
	if s.Helper(query) != "" {
		return from, until
	}
	found, _ := s.config.find(query)
	c, err := found.auth.credential()
	if err != nil {
		return from, until
	}
	parts := strings.Split(c.Password.Reveal(), ".")
	if len(parts) != 3 {
		return from, until
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return from, until
	}
	var claims struct {
		Issued  float64 `json:"iat"`
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return from, until
	}
	return moment(claims.Issued), moment(claims.Expires)
}

// moment returns the time of a claim, zero if it is missing or makes no sense.
func moment(seconds float64) time.Time {
	if seconds < 1 || seconds > 1<<38 {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}
