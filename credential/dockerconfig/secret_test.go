//go:build unix

package dockerconfig

import (
	"fmt"
	"strings"
	"testing"
)

// TestParseSecret checks which secrets hold logins, and that no error repeats any of
// them.
func TestParseSecret(t *testing.T) {
	good := `{"a.io":` + login("u", canary) + `}`
	for name, tt := range map[string]struct{ kind, key, data, want string }{
		"config":           {secretType, inSecret, `{"auths":` + good + `}`, "u"},
		"old":              {oldSecretType, inOldSecret, good, "u"},
		"of another type":  {"Opaque", inSecret, `{"auths":` + good + `}`, "not of type kubernetes.io/dockerconfigjson"},
		"without the key":  {secretType, inOldSecret, good, "has no .dockerconfigjson"},
		"not JSON":         {secretType, inSecret, canary, "its .dockerconfigjson is not a docker config.json"},
		"a list":           {oldSecretType, inOldSecret, `["` + canary + `"]`, "its .dockercfg is not"},
		"wrong types":      {secretType, inSecret, `{"auths":{"a.io":"` + canary + `"}}`, "is not a docker config.json"},
		"the old form":     {secretType, inSecret, good, ""},
		"another registry": {secretType, inSecret, `{"auths":{"b.io":` + login("u", canary) + `}}`, ""},
		"null":             {oldSecretType, inOldSecret, `null`, ""},
	} {
		s, err := ParseSecret(tt.kind, map[string][]byte{tt.key: []byte(tt.data)})
		got := ""
		if err != nil {
			got = err.Error()
		} else if list, _ := s.Logins(query(t, "a.io/x")); len(list) > 0 {
			got = list[0].Username
		}
		if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("a secret %s = %q; want %q", name, got, tt.want)
		}
		checkSecret(t, err)
	}
}

// TestSecretRunsNoHelper checks that a secret cannot name a program.
func TestSecretRunsNoHelper(t *testing.T) {
	s, err := ParseSecret(secretType, map[string][]byte{inSecret: []byte(`{"credsStore":"x","credHelpers":{"a.io":"y"},"auths":{"a.io":{}}}`)})
	if err != nil {
		t.Fatal(err)
	}
	if names := s.Helpers(); len(names) > 0 || s.Helper(query(t, "a.io/x")) != "" {
		t.Errorf("a secret's helpers = %q; want none", names)
	}
}

// TestLogins checks that every entry for an image counts, the preferred one first, and
// that one that cannot be used is said to be.
func TestLogins(t *testing.T) {
	for keys, want := range map[string]string{
		"a.io":                        "a.io",
		"*.io a.io a.io/team b.io":    "a.io/team a.io *.io",
		"a.io/te a.io/team/x a.io":    "a.io/team/x a.io",
		"https://a.io/v2/ a.io:443":   "a.io:443 https://a.io/v2/",
		"a.io:5000 b.a.io *.a.io":     "",
		"a.io !a.io/team":             "a.io, 1 fault",
		"!a.io !*.io":                 ", 2 faults",
		"!b.io a.io/team ?a.io/other": "a.io/team",
		"?a.io":                       ", 1 fault",
	} {
		var auths []string
		for key := range strings.FieldsSeq(keys) {
			value := login(key, canary)
			if name, bad := strings.CutPrefix(key, "!"); bad {
				key, value = name, `{"identitytoken":"`+canary+`"}`
			} else if name, empty := strings.CutPrefix(key, "?"); empty {
				key, value = name, `{}`
			} else if strings.Contains(key, ":") { // no username has a colon
				value = fmt.Sprintf(`{"username":%q,"password":%q}`, key, canary)
			}
			auths = append(auths, fmt.Sprintf("%q:%s", key, value))
		}
		s, err := ParseSecret(oldSecretType, map[string][]byte{inOldSecret: []byte("{" + strings.Join(auths, ",") + "}")})
		if err != nil {
			t.Fatal(err)
		}
		list, faults := s.Logins(query(t, "a.io/team/x"))
		var names []string
		for _, c := range list {
			names = append(names, c.Username)
		}
		got := strings.Join(names, " ")
		switch len(faults) {
		case 0:
		case 1:
			got += ", 1 fault"
		default:
			got += fmt.Sprintf(", %d faults", len(faults))
		}
		if got != want {
			t.Errorf("logins of %s = %q; want %q", keys, got, want)
		}
		for _, err := range faults {
			checkSecret(t, err)
		}
	}
}
