package kubeletconfig

import (
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

func TestPatternSets(t *testing.T) {
	for _, pattern := range append(AnyHost(), ACRHosts()...) {
		if _, err := mirror.ParsePattern(pattern); err != nil {
			t.Errorf("ParsePattern(%q): %v", pattern, err)
		}
	}
	matches := func(patterns []string, image string) bool {
		for _, p := range patterns {
			if p, err := mirror.KubeletPattern(p); err == nil && p.Matches(image) {
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
