package azure

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseChallenges(t *testing.T) {
	tests := map[string][]challenge{
		"":      nil,
		" , ,":  nil,
		"Basic": {{"basic", map[string]string{}}},
		`Bearer realm="https://a.azurecr.io/oauth2/token",service="a.azurecr.io"`: {
			{"bearer", map[string]string{"realm": "https://a.azurecr.io/oauth2/token", "service": "a.azurecr.io"}},
		},
		`bearer REALM = "x" , service=a.azurecr.io`: {
			{"bearer", map[string]string{"realm": "x", "service": "a.azurecr.io"}},
		},
		`Bearer realm=https://a.azurecr.io/oauth2/token?x=1,service=""`: {
			{"bearer", map[string]string{"realm": "https://a.azurecr.io/oauth2/token?x=1", "service": ""}},
		},
		`Basic realm="a, Bearer b=\"c\"", Bearer realm="d"`: {
			{"basic", map[string]string{"realm": `a, Bearer b="c"`}},
			{"bearer", map[string]string{"realm": "d"}},
		},
	}
	for header, want := range tests {
		got, err := parseChallenges(header)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("parseChallenges(%q) = %v, %v; want %v", header, got, err, want)
		}
	}
}

func TestParseChallengesRefuses(t *testing.T) {
	for _, header := range []string{
		`realm="x"`, `="x"`, `Bearer realm=`, `Bearer realm="x`, `Bearer realm="x\`, `Bearer realm="x" service="y"`,
		`Bearer realm="x",realm="y"`, `Bearer realm="x"y`, "Bearer \x00", `"Bearer"`, `Negotiate abc==`,
	} {
		if got, err := parseChallenges(header); err == nil {
			t.Errorf("parseChallenges(%q) = %v; want an error", header, got)
		}
	}
}

// FuzzChallenge checks that no header makes the parser panic, and that what it
// read, written out in the strict form, reads the same.
func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{
		"", "Basic", "Bearer ", `Bearer realm="r",service="s"`, `Bearer realm="r",service=s`, `Bearer realm=r,service`,
		`Basic realm="a", Bearer realm="b",error="c"`, `Bearer realm="\"\\"`, `Bearer realm="`, `a=b`, "Bearer\trealm\t=\t\"x\"",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		list, err := parseChallenges(header)
		if err != nil {
			return
		}
		var strict strings.Builder
		for i, c := range list {
			if i > 0 {
				strict.WriteString(", ")
			}
			strict.WriteString(c.scheme)
			for j, name := range slices.Sorted(maps.Keys(c.params)) {
				if j > 0 {
					strict.WriteByte(',')
				}
				fmt.Fprintf(&strict, ` %s="%s"`, name, strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(c.params[name]))
			}
		}
		again, err := parseChallenges(strict.String())
		if err != nil || !reflect.DeepEqual(again, list) {
			t.Errorf("parseChallenges(%q) = %v, %v; want %v, as of %q", strict.String(), again, err, list, header)
		}
	})
}
