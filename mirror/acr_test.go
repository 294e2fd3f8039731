package mirror

import (
	"fmt"
	"strings"
	"testing"
)

func TestACRSuffix(t *testing.T) {
	tests := map[string]string{
		"foo.azurecr.io":     "azurecr.io",
		"foo.azurecr.cn":     "azurecr.cn",
		"foo.azurecr.de":     "azurecr.de",
		"foo.azurecr.us":     "azurecr.us",
		"FOO.AZURECR.IO":     "azurecr.io",
		"foo.azurecr.io:443": "azurecr.io",
		"1.azurecr.io":       "azurecr.io",

		"azurecr.io":                             "",
		"evilazurecr.io":                         "",
		"evil-azurecr.io":                        "",
		"foo.azurecr.io:444":                     "",
		"foo.azurecr.io:80":                      "",
		"foo.azurecr.io.example":                 "",
		"foo.azurecr.io.evil.example":            "",
		"foo.azurecr.io.azurecr.cn":              "",
		"foo-azurecr-io.azurecr.cn":              "", // two hyphens
		"foo.bar.azurecr.io":                     "",
		"foo.eastus2.data.azurecr.io":            "",
		"foo.privatelink.azurecr.io":             "",
		"foo.geo.azurecr.io":                     "",
		"geo.azurecr.io":                         "azurecr.io", // a registry may be called so
		"foo.east.us.geo.azurecr.io":             "",
		"foo.east-us.geo.azurecr.io":             "",
		"foo.eastus2.geo.azurecr.io.example":     "",
		"foo.azurecr.my.cloud":                   "",
		"mcr.microsoft.com":                      "",
		"localhost":                              "",
		"[2001:db8::1]":                          "",
		"demo-abc123.eastus2.geo.azurecr.io:444": "",
	}
	for _, cloud := range []string{"io", "cn", "de", "us"} {
		suffix := "azurecr." + cloud
		tests["contoso-abc123."+suffix] = suffix
		tests["foo.eastus2.geo."+suffix] = suffix
		tests["contoso-abc123.germanynorth.geo."+suffix] = suffix
		tests["contoso-abc-123."+suffix] = ""
		tests["foo.eastus2.data."+suffix] = ""
	}
	for name, want := range tests {
		host, err := ParseHost(name)
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := host.ACRSuffix(); ok != (want != "") || ok && got != want {
			t.Errorf("ParseHost(%q).ACRSuffix() = %q, %t; want %q", name, got, ok, want)
		}
		for _, suffix := range acrSuffixes {
			if got := host.ACRSuffixIn(suffix); got != (want == suffix) {
				t.Errorf("ParseHost(%q).ACRSuffixIn(%q) = %t; want %t", name, suffix, got, want == suffix)
			}
		}
	}
}

// TestACRSuffixNotAHost holds the names of the same table that are not hosts:
// an image with a path before the registry's name, and an empty label.
func TestACRSuffixNotAHost(t *testing.T) {
	for _, name := range []string{"docker/foo.azurecr.io", ".azurecr.io", "-foo.azurecr.io", "foo-.azurecr.io", "invalid image"} {
		if host, err := ParseHost(name); err == nil {
			t.Errorf("ParseHost(%q) = %q; want an error", name, host)
		}
	}
	if _, ok := (Host{}).ACRSuffix(); ok {
		t.Error("Host{}.ACRSuffix() holds; want that it does not")
	}
}

func TestACRSuffixInPrivateCloud(t *testing.T) {
	host, err := ParseHost("foo.azurecr.my.cloud")
	if err != nil {
		t.Fatal(err)
	}
	for suffix, want := range map[string]bool{"azurecr.my.cloud": true, "my.cloud": false, "": false, ".azurecr.my.cloud": false} {
		if got := host.ACRSuffixIn(suffix); got != want {
			t.Errorf("%q.ACRSuffixIn(%q) = %t; want %t", host, suffix, got, want)
		}
	}
	if suffix, ok := host.ACRSuffix(); ok || strings.HasSuffix(suffix, "cloud") {
		t.Errorf("%q.ACRSuffix() = %q, %t; want none", host, suffix, ok)
	}
}

func TestPrivateACR(t *testing.T) {
	const text = "version = 1\n[registry.%q]\ncredential = \"azure\"\n"
	for host, want := range map[string]bool{
		"foo.azurecr.cloud.corp": true, "foo.azsacr.local.cloud.corp": true, "foo.azurecr.io": true,
		"azurecr.cloud.corp": false, "foo.evilazurecr.cloud.corp": false, "foo.x.azurecr.cloud.corp": false, "foo.azurecr.corp": false, "evil.example": false,
	} {
		if _, err := Parse("map", fmt.Appendf(nil, text, host)); (err == nil) != want {
			t.Errorf("%s with an Azure credential: %v; want it allowed: %t", host, err, want)
		}
	}
}
