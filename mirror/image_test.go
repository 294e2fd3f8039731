package mirror

import (
	"strings"
	"testing"

	"github.com/distribution/reference"
)

func TestParseImage(t *testing.T) {
	for in, want := range map[string]string{
		"nginx":                              "docker.io/library/nginx",
		"nginx:1.27":                         "docker.io/library/nginx:1.27",
		"bitnami/redis":                      "docker.io/bitnami/redis",
		"index.docker.io/nginx":              "docker.io/library/nginx",
		"registry-1.docker.io/library/nginx": "registry-1.docker.io/library/nginx",
		"MCR.microsoft.com/x":                "MCR.microsoft.com/x",
		"mcr.microsoft.com:443/a/b:v1":       "mcr.microsoft.com:443/a/b:v1",
		"localhost/x":                        "localhost/x",
		"LOCALHOST/x":                        "LOCALHOST/x",
		"a_b.io/x":                           "a_b.io/x",
		"a_b.io:5000/x":                      "",
		"A_b.io/x":                           "",
		"[2001:db8::1]:5000/x":               "[2001:db8::1]:5000/x",
		"mcr.microsoft.com.evil.example/x":   "mcr.microsoft.com.evil.example/x",
		"a.io/x:t@sha256:" + sixtyFour:       "a.io/x:t@sha256:" + sixtyFour,
		"https://a.io/x":                     "",
		"a.io/X":                             "",
		"user:pw@a.io/x":                     "",
		"a.io/":                              "",
		"":                                   "",
		"mcr.microsoft.com/ünï":              "",
		"аzurecr.io/x":                       "", // a Cyrillic letter
		"a.io/x:":                            "",
		"a.io/x@sha256:12":                   "",
		"library/nginx@sha256:" + sixtyFour + "x": "",
	} {
		got, err := ParseImage(in)
		if want == "" {
			if err == nil {
				t.Errorf("ParseImage(%q) = %v; want an error", in, got)
			}
			continue
		}
		if err != nil || got.String() != want {
			t.Errorf("ParseImage(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

const sixtyFour = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// FuzzParseImage holds ParseImage against the library that containerd and the
// kubelet parse image names with.
func FuzzParseImage(f *testing.F) {
	for _, s := range []string{
		"nginx", "nginx:1.27", "a.io/x@sha256:" + sixtyFour, "a.io:5000/a/b__c:t", "[::1]:5000/x",
		"index.docker.io/x", "LOCALHOST/x", "a/b/c", "a.io//x", "a..io/x", "-a.io/x", sixtyFour, "docker.io/" + sixtyFour,
		"r.4e6ab_o/0", "a_b.io:5000/x", "A_b.io/x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseImage(s)
		want, wantErr := reference.ParseNormalizedNamed(s)
		if err != nil {
			if wantErr == nil {
				t.Fatalf("ParseImage(%q): %v; the library reads %v", s, err, want)
			}
			return
		}
		if wantErr != nil {
			t.Fatalf("ParseImage(%q) = %v; the library says %v", s, got, wantErr)
		}
		host, repository := reference.Domain(want), reference.Path(want)
		if host == "" { // containerd and the kubelet split the name at its first slash
			host, repository, _ = strings.Cut(repository, "/")
		}
		if got.Host() != host || got.Repository() != repository || got.String() != want.String() {
			t.Fatalf("ParseImage(%q) = %v; the library reads %v", s, got, want)
		}
		if again, err := ParseImage(got.String()); err != nil || again != got {
			t.Fatalf("ParseImage(%q) = %v, %v; want %v again", got, again, err, got)
		}
	})
}
