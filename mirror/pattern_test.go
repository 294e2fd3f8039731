package mirror

import (
	"flag"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestParsePattern checks which patterns are refused, and what is said.
func TestParsePattern(t *testing.T) {
	for pattern, want := range map[string]string{ // "" if it is taken, else a part of the error
		"*":                         "",
		"*.*":                       "",
		"*.azurecr.io":              "",
		"app*.k8s.io":               "",
		"k8s.*":                     "",
		"docker.io/library/":        "",
		"docker.io/nginx":           "",
		"registry.io:8080/path":     "",
		"harbor:5000":               "",
		"localhost":                 "",
		"HARBOR":                    "", // in capitals a word is a host
		"h*":                        "",
		"*.io:5000":                 "",
		"a.io:443":                  "",
		"[2001:db8::1]:5000":        "",
		"mirrorcred.invalid":        "",
		"a.io/team-":                "",
		"a.io/team_":                "",
		"a.io/":                     "",
		"":                          `a host is missing`,
		"https://x.io":              `write "x.io"`,
		"quay.io/*":                 `write "quay.io"`,
		"x.io/a*/b":                 `write "x.io/a"`,
		"a.io:*":                    `port "*" is not a number`,
		"a.io:":                     `port "" is not a number`,
		"a.io:0":                    `port "0" is not a number`,
		"a.io:70000":                `port "70000" is not a number`,
		"a?.io":                     `no query and no fragment`,
		"a.io/x:tag":                `no repository begins with "x:tag"`,
		"a.io/x@sha256:00":          `no user, password or digest`,
		"user:secret@a.io":          `no user, password or digest`,
		"[ab].io":                   `not an IPv6 address in brackets`,
		"x[ab].io":                  `is not a label`,
		"[2001:db8::1]":             `only with a port`,
		"[fe80::1%25eth0]:5000":     `has a zone`,
		"[::ffff:1.2.3.4]:5000":     `has dots`,
		"[*]:5000":                  `not an IPv6 address`,
		"2001:db8::1":               `is not a label`,
		"a..b":                      `the extra dot`,
		".azurecr.io":               `the extra dot`,
		"a.io.":                     `the extra dot`,
		"a_b.io":                    "", // the library reads it as a path, the kubelet as a host
		"*_b.io/x":                  "",
		"A_b.io":                    `no image can match it`,
		"a_b.io:5000":               `no image can match it`,
		"a_.io":                     `no image can match it`,
		"a_b":                       `"docker.io/a_b"`,
		"a_*":                       `no image can match it`,
		"-a.io":                     `"-a" is not a label`,
		"*-.io":                     `"*-" is not a label`,
		"a b.io":                    `"a b" is not a label`,
		"/library":                  `a host is missing`,
		"0":                         `"docker.io/0"`,
		"nginx":                     `"docker.io/nginx"`,
		"library/nginx":             `"docker.io/library/nginx"`,
		"index.docker.io":           `write "docker.io"`,
		"index.docker.io/library":   `write "docker.io/library"`,
		"a.io/Team":                 `write "a.io/team"`,
		"a.io//x":                   `no repository begins with`,
		"a.io/-x":                   `no repository begins with`,
		"a.io/x___y":                `no repository begins with`,
		"a.io/x..":                  `no repository begins with`,
		"a.io/x._":                  `no repository begins with`,
		"a.io/%41":                  `no repository begins with`,
		"a.io/ü":                    `no repository begins with`,
		"a.io/" + long(255):         "",
		"a.io/" + long(256):         `no repository begins with`,
		"docker.io/" + long(253):    "",
		"docker.io/" + long(254):    `no repository begins with`,
		"ü.io":                      `is not a label`,
		"a.io\x00":                  `is not a label`,
		"docker.io:443/library/x/y": "",
	} {
		p, err := ParsePattern(pattern)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePattern(%q) = %v; want %q", pattern, err, want)
		}
		if err != nil && (p != Pattern{} || strings.Contains(err.Error(), "secret")) {
			t.Errorf("ParsePattern(%q) = %v, %v; want no pattern and no secret", pattern, p, err)
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

// TestRefusedPatternsMatchNothing goes through all short patterns and images:
// a pattern is refused if and only if it matches none of them, and the filled-in
// example is one of those that a pattern matches.
func TestRefusedPatternsMatchNothing(t *testing.T) {
	var images []string
	for _, host := range words("aA.-_:0", 4) {
		for _, repository := range []string{"a", "0", "a/a", "a-a", "a.a/a"} {
			if i, err := ParseImage(host + "/" + repository); err == nil && i.Host() == host {
				images = append(images, i.Name())
			}
		}
	}
	taken := 0
	for _, s := range words("aA*.-_:0/", 4) {
		strict, err := ParsePattern(s)
		p, broken := KubeletPattern(s)
		matched := broken == nil && slices.ContainsFunc(images, p.Matches)
		if err == nil {
			taken++
		}
		switch {
		case err == nil && strict != p:
			t.Errorf("ParsePattern(%q) = %v; the kubelet reads %v", s, strict, p)
		case err != nil && matched && !strings.Contains(s, ":0") && !strings.Contains(s+"/", ":/"): // no registry has such a port
			t.Errorf("ParsePattern(%q): %v, and it matches an image", s, err)
		case isPlainHost(s) && (err != nil || !matched): // which is not checked any further
			t.Errorf("ParsePattern(%q): %v, and that it matches an image is %v", s, err, matched)
		}
	}
	if taken < 100 || len(images) < 100 {
		t.Errorf("%d patterns taken, %d images: too few to prove anything", taken, len(images))
	}
}

// words returns all words of up to n letters.
func words(letters string, n int) []string {
	list := []string{""}
	for from := 0; n > 0; n-- {
		end := len(list)
		for _, word := range list[from:end] {
			for _, letter := range letters {
				list = append(list, word+string(letter))
			}
		}
		from = end
	}
	return list[1:]
}

// TestPatternPorts holds the rule for ports that is mirrorcred's: the default
// port of a registry equals none.
func TestPatternPorts(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		plain          bool
		want           bool
	}{
		{"a.io", "a.io/x", false, true},
		{"a.io:443", "a.io/x", false, true},
		{"a.io", "a.io:443/x", false, true},
		{"a.io:443", "a.io/x", true, false},
		{"a.io:80", "a.io/x", true, true},
		{"a.io:80", "a.io/x", false, false},
		{"a.io:8443", "a.io/x", false, false},
		{"*.io:443/team", "a.io/team/x", false, true},
		{"[::1]:443", "[::1]/x", false, true},
		{"[::1]", "[::1]:443/x", false, true},
		{"[::1]", "[::2]/x", false, false},
	} {
		p, err := KubeletPattern(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.MatchesRegistry(tt.image, tt.plain); got != tt.want {
			t.Errorf("%q matches %q at its registry (plain %v): %v; want %v", tt.pattern, tt.image, tt.plain, got, tt.want)
		}
		host, repository, _ := strings.Cut(tt.image, "/")
		if got := p.Covers(Host{host}, tt.plain, repository); got != tt.want {
			t.Errorf("%q covers %q (plain %v): %v; want %v", tt.pattern, tt.image, tt.plain, got, tt.want)
		}
	}
}

// TestPatternCovers holds the boundary that a credential's own key has and the
// kubelet's patterns do not.
func TestPatternCovers(t *testing.T) {
	for repository, want := range map[string]bool{
		"team": true, "team/app": true, "teamx/app": false, "tea": false, "x/team": false, "": false,
	} {
		for _, key := range []string{"a.io/team", "a.io/team/", "*.io/team"} {
			p, _ := KubeletPattern(key)
			if got := p.Covers(Host{"a.io"}, false, repository); got != want {
				t.Errorf("%q covers %q: %v; want %v", key, repository, got, want)
			}
		}
	}
	if (Pattern{}).Covers(Host{}, false, "") || (Pattern{}).Matches("") || (Pattern{}).MatchesHost(Host{}) {
		t.Error("the zero Pattern matches something")
	}
}

func TestPatternMatchesHost(t *testing.T) {
	for _, tt := range []struct {
		pattern, host string
		want          bool
	}{
		{"*.io", "a.io", true},
		{"*.io/", "a.io", true},
		{"*.io/a", "a.io", false},
		{"*.io", "a.io:443", false},
		{"*.io:443", "a.io:443", true},
		{"[::1]:5000", "[::1]:5000", true},
		{"[::1]", "[::1]", false},
	} {
		p, _ := KubeletPattern(tt.pattern)
		if got := p.MatchesHost(Host{tt.host}); got != tt.want {
			t.Errorf("%q matches all of %q: %v; want %v", tt.pattern, tt.host, got, tt.want)
		}
	}
}

// FuzzPattern holds the matching against the kubelet's, written down again from
// its text (pkg/credentialprovider/keyring.go), and what is taken against the
// image that it is filled in with.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"*.azurecr.io", "a.io:5000/team", "[::1]:1/x", "docker.io", "HARBOR", "0", "a:b:c", "a.io:/x", "%41.io", "a.io/x?y#z"} {
		f.Add(s, "a.io/team/x")
		f.Add(s, s+"/x")
	}
	f.Fuzz(func(t *testing.T, pattern, image string) {
		want, wantErr := kubeletMatches(pattern, image)
		p, err := KubeletPattern(pattern)
		if (err != nil) != (wantErr != nil) || err == nil && p.Matches(image) != want && pattern != "" {
			t.Errorf("%q matches %q: %v, %v; want %v, %v", pattern, image, p.Matches(image), err, want, wantErr)
		}
		if _, err := ParsePattern(pattern); err != nil {
			return
		}
		host, repository, _ := strings.Cut(pattern, "/")
		if example := anImage(host, repository); !p.Matches(example) {
			t.Errorf("ParsePattern(%q) takes it, and it does not match %q", pattern, example)
		}
	})
}

// patternsFile holds what the kubelet's own matcher says, which e2e/kubelet/oracle
// writes. There the test is run once more, with other pairs.
var patternsFile = flag.String("kubelet-patterns", "testdata/kubelet-patterns.txt", "a file of patterns, images and whether the kubelet matches them")

// TestKubeletPatterns holds a Pattern against the kubelet's own matcher.
func TestKubeletPatterns(t *testing.T) {
	text, err := os.ReadFile(*patternsFile)
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		var pattern, image, want string
		if _, err := fmt.Sscanf(line, "%q %q %s", &pattern, &image, &want); err != nil {
			t.Fatalf("%s: line %q: %v", *patternsFile, line, err)
		}
		lines++
		got := "no"
		if p, err := KubeletPattern(pattern); err != nil {
			got = "refused"
		} else if p.Matches(image) {
			got = "yes"
		}
		if got != want {
			t.Errorf("%q matches %q: %s; the kubelet says %s", pattern, image, got, want)
		}
		if _, err := ParsePattern(pattern); err == nil && want == "refused" {
			t.Errorf("ParsePattern takes %q, with which the kubelet does not start", pattern)
		}
	}
	if lines < 1000 {
		t.Errorf("%d pairs: too few to prove anything", lines)
	}
}

// kubeletMatches is what the kubelet does, for the fuzzing.
func kubeletMatches(pattern, image string) (bool, error) {
	glob, err := url.Parse("https://" + pattern)
	if err != nil {
		return false, err
	}
	target, err := url.Parse("https://" + image)
	if err != nil {
		return false, nil
	}
	split := func(u *url.URL) ([]string, string) {
		host, port, err := net.SplitHostPort(u.Host)
		if err != nil {
			host, port = u.Host, ""
		}
		return strings.Split(host, "."), port
	}
	globs, globPort := split(glob)
	labels, port := split(target)
	if globPort != port || len(globs) != len(labels) || !strings.HasPrefix(target.Path, glob.Path) {
		return false, nil
	}
	for i := range globs {
		if ok, err := filepath.Match(globs[i], labels[i]); err != nil || !ok {
			return false, nil
		}
	}
	return true, nil
}

// BenchmarkPattern matches an image with the patterns of any host and of 10,000
// sources.
func BenchmarkPattern(b *testing.B) {
	var patterns []Pattern
	for i := range 10_000 {
		p, err := ParsePattern(fmt.Sprintf("*.r%d.example.com", i))
		if err != nil {
			b.Fatal(err)
		}
		patterns = append(patterns, p)
	}
	for b.Loop() {
		if slices.ContainsFunc(patterns, func(p Pattern) bool { return p.MatchesHost(Host{"a.b.example.com"}) }) {
			b.Fatal("it matches")
		}
	}
}
