package azure

import (
	"errors"
	"strings"
)

// A challenge is one of Www-Authenticate: a scheme in lower case, and its
// parameters by their name in lower case (RFC 9110, section 11.6.1).
type challenge struct {
	scheme string
	params map[string]string
}

var errChallenge = errors.New("a challenge that cannot be read")

// parseChallenges reads the challenges of one Www-Authenticate header. It accepts quoted
// and bare values, and a scheme without parameters. It rejects the one-word form of
// Negotiate and its like (token68), and a repeated parameter, which two readers may
// understand differently.
func parseChallenges(header string) ([]challenge, error) {
	var list []challenge
	rest := header
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return list, nil
		}
		word, after := cutToken(rest)
		if word == "" {
			return nil, errChallenge
		}
		word = strings.ToLower(word)
		after = strings.TrimLeft(after, " \t")
		if !strings.HasPrefix(after, "=") {
			list = append(list, challenge{word, map[string]string{}})
			rest = after
			continue
		}
		value, after, ok := cutValue(strings.TrimLeft(after[1:], " \t"))
		if !ok || len(list) == 0 {
			return nil, errChallenge
		}
		params := list[len(list)-1].params
		if _, twice := params[word]; twice {
			return nil, errChallenge
		}
		params[word] = value
		rest = strings.TrimLeft(after, " \t")
		if rest != "" && rest[0] != ',' {
			return nil, errChallenge
		}
	}
}

// cutToken cuts the token (RFC 9110, section 5.6.2) that s begins with.
func cutToken(s string) (token, after string) {
	i := 0
	for i < len(s) && isToken(s[i]) {
		i++
	}
	return s[:i], s[i:]
}

func isToken(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0
}

// cutValue cuts the value that s begins with, a quoted string or a bare word.
// A bare word may hold what URLs are made of, which the RFC does not allow and
// registries do.
func cutValue(s string) (value, after string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		i := 0
		for i < len(s) && (isToken(s[i]) || strings.IndexByte(":/?=@[]()", s[i]) >= 0) {
			i++
		}
		return s[:i], s[i:], i > 0 && s[0] != '='
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
