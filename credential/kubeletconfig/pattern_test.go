package kubeletconfig

import (
	"strings"
	"testing"
)

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, image string
		want           bool
	}{
		{"docker.io", "docker.io/library/nginx", true},
		{"*.azurecr.io", "contoso.azurecr.io/app", true},
		{"*.azurecr.io", "contoso.westeurope.geo.azurecr.io/app", false},
		{"*.*.geo.azurecr.io", "contoso.westeurope.geo.azurecr.io/app", true},
		{"con*.azurecr.*", "contoso.azurecr.cn/app", true},
		{"*", "localhost/app", true},
		{"*", "docker.io/app", false},
		{"*.*", "docker.io/app", true},
		{"*.*", "a.io:5000/app", false},
		{"a.io:5000", "a.io:5000/app", true},
		{"a.io:5000", "a.io/app", false},
		{"a.io", "a.io:5000/app", false},
		{"*.io:5000", "a.io:5000/app", true},
		{"a.io:*", "a.io:5000/app", false},
		{"a.io/team", "a.io/teamx/app", true},
		{"a.io/team/", "a.io/teamx/app", false},
		{"a.io/", "a.io/app", true},
		{"a.io/*", "a.io/app", false},
		{"a.io/*/x", "a.io/*/x", true},
		{"https://a.io", "a.io/app", false},
		{"MCR.microsoft.com", "mcr.microsoft.com/x", false},
		{"mcr.microsoft.com", "MCR.microsoft.com/x", false},
		{"MCR.microsoft.com", "MCR.microsoft.com/x", true},
		{"[::1]", "[::1]/x", false},
		{"[::1]:5000", "[::1]:5000/x", true},
		{"10.0.0.*", "10.0.0.7/x", true},
		{"", "a.io/x", false},
		{"a b", "a b/x", false},
	} {
		if got := Matches(tt.pattern, tt.image); got != tt.want {
			t.Errorf("Matches(%q, %q) = %v; want %v", tt.pattern, tt.image, got, tt.want)
		}
	}
}

func TestCheckPattern(t *testing.T) {
	for pattern, want := range map[string]string{ // "" for none, else a part of the error
		"*":                       "",
		"*.*":                     "",
		"*.azurecr.io":            "",
		"app*.k8s.io":             "",
		"k8s.*":                   "",
		"docker.io/library/":      "",
		"registry.io:8080/path":   "",
		"harbor:5000":             "",
		"localhost":               "",
		"HARBOR":                  "", // in capitals a word is a host
		"*.io:5000":               "",
		"[2001:db8::1]:5000":      "",
		"mirrorcred.invalid":      "",
		"a.io/team-":              "",
		"":                        `a pattern is missing`,
		"https://x.io":            `write "x.io"`,
		"x.io/*":                  `write "x.io", since`,
		"x.io/a*/b":               `write "x.io/a", since`,
		"a.io:*":                  `has port "*"; write a number`,
		"a.io:":                   `has port ""`,
		"a.io:70000":              `has port "70000"`,
		"a?.io":                   `no image name has`,
		"a.io/x:tag":              `no repository begins with`,
		"a.io/x@sha256:00":        `no image name has`,
		"[ab].io":                 `not an IPv6 address in brackets`,
		"x[ab].io":                `no label of a host`,
		"[2001:db8::1]":           `the kubelet never matches`,
		"[fe80::1%25eth0]:5000":   `no image name has`,
		"[*]:5000":                `not an IPv6 address`,
		"2001:db8::1":             `no label of a host`,
		"a..io":                   `"" is no label`,
		".azurecr.io":             `"" is no label`,
		"a_b.io":                  `"a_b" is no label`,
		"-a.io":                   `"-a" is no label`,
		"/library":                `"" is no label`,
		"nginx":                   `"docker.io/nginx"`,
		"library/nginx":           `write the port`,
		"index.docker.io/library": `write "docker.io/library"`,
		"a.io/Team":               `write "a.io/team"`,
		"a.io//x":                 `no repository begins with`,
		"a.io/%41":                `no image name has`,
		"a.io/ü":                  `no repository begins with`,
	} {
		err := CheckPattern(pattern)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("CheckPattern(%q) = %v; want %q", pattern, err, want)
		}
	}
}

func TestPatternSets(t *testing.T) {
	for _, pattern := range append(AnyHost(), ACRHosts()...) {
		if err := CheckPattern(pattern); err != nil {
			t.Error(err)
		}
	}
	matches := func(patterns []string, image string) bool {
		for _, p := range patterns {
			if Matches(p, image) {
				return true
			}
		}
		return false
	}
	for image, want := range map[string][2]bool{ // any, ACR
		"localhost/x":                       {true, false},
		"docker.io/x":                       {true, false},
		"contoso.azurecr.us/x":              {true, true},
		"contoso.eastus.geo.azurecr.io/x":   {true, true},
		"contoso.eastus.data.azurecr.io/x":  {true, false},
		strings.Repeat("a.", 15) + "io/x":   {true, false},
		"docker.io:443/x":                   {false, false},
		"contoso.azurecr.io.evil.example/x": {true, false},
	} {
		if got := [2]bool{matches(AnyHost(), image), matches(ACRHosts(), image)}; got != want {
			t.Errorf("%q is matched by AnyHost, ACRHosts: %v; want %v", image, got, want)
		}
	}
}

// What CheckPattern takes, the kubelet starts with; and filled in, it matches.
func FuzzCheckPattern(f *testing.F) {
	for _, s := range []string{"*.azurecr.io", "a.io:5000/team", "[::1]:1/x", "docker.io", "HARBOR"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckPattern(s) != nil {
			return
		}
		image := strings.ReplaceAll(s, "*", "a") + "x"
		if !strings.Contains(s, "/") {
			image = strings.TrimSuffix(image, "x") + "/x"
		}
		if !Matches(s, image) {
			t.Errorf("Matches(%q, %q) = false; want true", s, image)
		}
	})
}
