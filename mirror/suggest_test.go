package mirror

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var suggestion = regexp.MustCompile(`write ("(?:[^"\\]|\\.)*")`)

// TestSuggestions checks what errors say to write instead: it is not empty, it is
// not what was written, and it is taken if it is written. A password is in none.
func TestSuggestions(t *testing.T) {
	var inputs []string
	for _, scheme := range []string{"", "http://", "https://", "HTTP://", "oci://", "://", "http:///", "https://http://"} {
		for _, host := range []string{"", "h.io", "H.io", "h.io:443", "h.io:80", "h.io:", ":5000", "*", "*.h.io", "u:CANARY@h.io", "[::1]", "[::1]:5000", "docker.io", "a_b", "-"} {
			for _, path := range []string{"", "/", "//", "/hub", "/Hub", "/Hub:1", "/hub:1", "/v2", "/v2/hub", "/*", "/hub/*", "/hub@sha256:0", "/ /x"} {
				inputs = append(inputs, scheme+host+path)
			}
		}
	}
	parsers := map[string]func(string) error{
		"host":     func(s string) error { _, err := ParseHost(s); return err },
		"source":   func(s string) error { _, err := ParseSource(s); return err },
		"target":   func(s string) error { _, err := ParseTarget(s); return err },
		"registry": func(s string) error { _, err := parseRegistry(s); return err },
		"map": func(s string) error {
			_, err := Parse("m", fmt.Appendf(nil, "version = 1\n[[mirror]]\nsource = %q\ntargets = [%q, \"*\"]\n[registry.%q]\n", s, s, s))
			return err
		},
	}
	for what, parse := range parsers {
		for _, input := range inputs {
			err := parse(input)
			if err == nil {
				continue
			}
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("%s %q: %v; want no password in it", what, input, err)
			}
			for _, m := range suggestion.FindAllStringSubmatch(err.Error(), -1) {
				instead, _ := strconv.Unquote(m[1])
				if instead == "" || instead == input && what != "map" {
					t.Errorf("%s %q: %v; that is not a suggestion", what, input, err)
				}
				if what == "map" {
					continue // it is about one of three places
				}
				if err2 := parse(instead); err2 != nil {
					t.Errorf("%s %q: %v; but of %q: %v", what, input, err, instead, err2)
				}
			}
		}
	}
}

// TestPlainRegistry takes the advice for a registry over http, and gets what it
// says.
func TestPlainRegistry(t *testing.T) {
	_, err := parseRegistry("http://Harbor.corp:5000/hub")
	want := `a registry is named without a scheme and reached by https; for http, write [[mirror]] with source = "harbor.corp:5000" and targets = ["http://harbor.corp:5000"], and the settings under [registry."harbor.corp:5000/hub"]`
	if err == nil || err.Error() != want {
		t.Errorf("the error is %v; want %s", err, want)
	}
	m, err := Parse("m", []byte("version = 1\n[[mirror]]\nsource = \"harbor.corp:5000\"\ntargets = [\"http://harbor.corp:5000\"]\n[registry.\"harbor.corp:5000/hub\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Mirrors) != 1 || m.Mirrors[0].Targets[0].String() != "http://harbor.corp:5000" {
		t.Errorf("the map has %v; want the one mirror", m.Mirrors)
	}
}
