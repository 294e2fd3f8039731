package child

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/mirrorcred/mirrorcred/credential"
)

// maskKnown masks known secrets in a text, the longest first, since one may be
// part of another. It also finds them in base64 and URL encoding.
func maskKnown(text string, secrets []credential.Secret) string {
	var list []string
	for _, s := range secrets {
		if len(s) <= maxShort {
			continue
		}
		plain := s.Reveal()
		list = append(list, plain, url.QueryEscape(plain), strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(plain)), "="))
		for line := range strings.Lines(plain) {
			if line = strings.TrimSpace(line); len(line) > maxShort {
				list = append(list, line) // lines are checked one by one later
			}
		}
	}
	slices.SortFunc(list, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, s := range list {
		text = strings.ReplaceAll(text, s, masked)
	}
	return text
}

// answerStrings returns the strings in what a program printed as its answer: the
// credential is among them. Text that is not JSON may be a part of it, and then
// each word counts.
func answerStrings(answer []byte) []credential.Secret {
	var list []credential.Secret
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			list = append(list, credential.Secret(v))
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	var v any
	if json.Unmarshal(answer, &v) == nil {
		walk(v)
		return list
	}
	for _, word := range quoted().FindAllString(string(answer), -1) {
		list = append(list, credential.Secret(strings.Trim(word, `"`)))
	}
	return list
}

// A form is how a secret appears in a text.
type form struct {
	match   *regexp.Regexp
	replace string
}

// quoted matches the strings in a part of a JSON text, the last one cut short.
// It and the forms are compiled only when a program has failed: the plugin
// starts for each image, so it has no time for that.
var quoted = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"[^"\s]{8,}`) })

// forms are a value after a name such as "password", a token after its scheme,
// a JWT, and a password in a URL. "token: " is often followed by a reason.
var forms = sync.OnceValue(func() []form {
	const value = `("[^"]*"?|'[^']*'?|[^\s"',;&)}\]]+)`
	return []form{
		{regexp.MustCompile(`(?i)((?:password|passwd|passphrase|pwd)["']?\s*[=:]\s*)` + value), "${1}" + masked},
		{regexp.MustCompile(`(?i)((?:pass|secret|token|key|credential|signature|sig|sas|auth)(?:["']?=|["']\s*:\s*|:))` + value), "${1}" + masked},
		{regexp.MustCompile(`(?i)\b((?:bearer|basic|negotiate)\s+)[A-Za-z0-9._~+/=-]{4,}`), "${1}" + masked},
		{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,4}`), masked},
		{regexp.MustCompile(`(://[^\s/@:]*:)[^\s/@]+@`), "${1}" + masked + "@"},
	}
})

// maskForms masks what has the form of a secret.
func maskForms(text string) string {
	for _, f := range forms() {
		text = f.match.ReplaceAllString(text, f.replace)
	}
	return text
}
