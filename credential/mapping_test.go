package credential

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseMappings(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "[] 0",
		"   ":                           "[] 0",
		"aaa:bbb,ccc:ddd":               "[{aaa bbb} {ccc ddd}] 0",
		"aaa: bbb, ccc:ddd":             "[{aaa bbb} {ccc ddd}] 0",
		"aaa:bbb,":                      "[{aaa bbb}] 0",
		",aaa:bbb":                      "[{aaa bbb}] 0",
		"aaa":                           "[] 1",
		"aaa=bbb":                       "[] 1",
		"a:b,a:c":                       "[{a c}] 0",
		":bbb":                          "[] 1",
		"aaa:":                          "[] 1",
		"a:\tb":                         "[{a b}] 0",
		"a:b;c:d":                       "[] 1",
		"docker.io/library:foo.io/hub":  "[{docker.io/library foo.io/hub}] 0",
		"*.gcr.io:foo.azurecr.io":       "[] 1",
		"harbor:8443:foo.azurecr.io":    "[{harbor:8443 foo.azurecr.io}] 0",
		"harbor:8443:foo.io:444/x":      "[{harbor:8443 foo.io:444/x}] 0",
		"a:foo.io:444":                  "[{a foo.io:444}] 0",
		"a:5000":                        "[] 1",
		"[::1]:5000:foo.io":             "[{[::1]:5000 foo.io}] 0",
		"a:https://foo.io/x":            "[{a foo.io/x}] 0",
		"docker.io:a,docker.io/lib:b":   "[{docker.io/lib b} {docker.io a}] 0",
		"a:me:CANARY@foo.io":            "[] 1",
		"mcr.microsoft.com:foo.io/hub/": "[{mcr.microsoft.com foo.io/hub}] 0",
		"docker.io/:foo.io/":            "[{docker.io foo.io}] 0",
		"docker.io//:foo.io":            "[] 1",
		"docker.io:foo.io//":            "[] 1",
	} {
		list, faults := ParseMappings(in)
		if got := fmt.Sprint(list, len(faults)); got != want && !(len(list) == 0 && got == want) {
			t.Errorf("ParseMappings(%q) = %s; want %s (%v)", in, got, want, faults)
		}
		for _, err := range faults {
			if strings.Contains(err.Error(), "CANARY") {
				t.Errorf("ParseMappings(%q): the message holds the password: %v", in, err)
			}
		}
	}
}

func TestApply(t *testing.T) {
	list, _ := ParseMappings("docker.io:a.azurecr.io,docker.io/library:b.azurecr.io/hub,harbor:a.io,harbor:8443:c.azurecr.io")
	for image, want := range map[string]string{
		"docker.io/library/nginx":  "b.azurecr.io/hub/nginx docker.io/library",
		"docker.io/library":        "b.azurecr.io/hub docker.io/library",
		"docker.io/libraryx/nginx": "a.azurecr.io/libraryx/nginx docker.io",
		"docker.iox/nginx":         "docker.iox/nginx ",
		"harbor/x":                 "a.io/x harbor",
		"harbor:8443/x":            "c.azurecr.io/x harbor:8443",
		"harbor:9/x":               "harbor:9/x ",
		"evil-docker.io/x":         "evil-docker.io/x ",
	} {
		got, m := Apply(list, image)
		if got+" "+m.Source != want {
			t.Errorf("Apply(%q) = %q, %q; want %q", image, got, m.Source, want)
		}
	}
}

func FuzzParseMappings(f *testing.F) {
	for _, s := range []string{"a:b", "a:1:b:2,c/d:e/f", "[::1]:5:x", ":", "a::b", "a:https://b", "a//:b"} {
		f.Add(s, "a/x")
	}
	f.Fuzz(func(t *testing.T, s, image string) {
		list, _ := ParseMappings(s)
		for _, m := range list {
			if m.Source == "" || m.Target == "" {
				t.Fatalf("ParseMappings(%q) = %+v", s, list)
			}
			again, faults := ParseMappings(m.Source + ":" + m.Target)
			if len(faults) > 0 || len(again) != 1 || again[0] != m {
				t.Fatalf("ParseMappings(%q:%q) = %+v, %v", m.Source, m.Target, again, faults)
			}
		}
		first, _ := Apply(list, image)
		if second, _ := Apply(list, image); first != second {
			t.Fatalf("Apply(%q, %q) gives two answers", s, image)
		}
	})
}
