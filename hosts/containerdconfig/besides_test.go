package containerdconfig

import (
	"fmt"
	"testing"
)

// TestBesides reads the logins and the lost headers of files that
// the lines of containerd take in different ways.
func TestBesides(t *testing.T) {
	const (
		old = "[plugins.'io.containerd.grpc.v1.cri']\n"
		reg = "[plugins.'io.containerd.grpc.v1.cri'.registry"
		two = "[plugins.'io.containerd.cri.v1.images'"
	)
	type want struct{ logins, lost string }
	for name, test := range map[string]struct {
		version    string
		main, next string
		want       want
	}{
		"nothing":                           {"2.4", "version = 3\n", "", want{"[]", "[]"}},
		"a login, 1.7":                      {"1.7", "version = 2\n" + reg + ".configs.'h'.auth]\nusername = 'u'\n", "", want{"[{h {/c 2 plugins.\"io.containerd.grpc.v1.cri\".registry.configs.h.auth}}]", "[]"}},
		"a login, moved":                    {"2.4", "version = 2\n" + reg + ".configs.'h'.auth]\nusername = 'u'\n", "", want{"[{h {/c 2 plugins.\"io.containerd.grpc.v1.cri\".registry.configs.h.auth}}]", "[]"}},
		"TLS alone is not a login":          {"2.4", "version = 3\n" + two + ".registry.configs.'h'.tls]\nca_file = 'x'\n", "", want{"[]", "[]"}},
		"headers that are sent":             {"2.4", "version = 3\n" + two + ".registry.headers]\nX-A = ['1']\n", "", want{"[]", "[]"}},
		"headers that were lost":            {"2.4", "version = 2\n" + two + ".registry.headers]\nX-A = ['1']\n", "version = 2\n" + reg + "]\nconfig_path = '/d'\n", want{"[]", "[]"}},
		"replaced before 2.3":               {"2.0", "version = 2\n" + two + ".registry.headers]\nX-A = ['1']\n", "version = 2\n" + reg + "]\nconfig_path = '/d'\n", want{"[]", "[{X-A {/c 4 plugins.\"io.containerd.cri.v1.images\".registry.headers}}]"}},
		"in a table that 1.7 does not read": {"1.7", "version = 2\n" + two + ".registry.headers]\nX-A = ['1']\n", "", want{"[]", "[{X-A {/c 3 plugins.\"io.containerd.cri.v1.images\".registry.headers}}]"}},
	} {
		v, err := ParseVersion(test.version)
		if err != nil {
			t.Fatal(err)
		}
		files := memory{"/c": test.main}
		if test.next != "" {
			files = memory{"/c": "imports = ['/n']\n" + test.main, "/n": test.next}
		}
		c, err := Effective(files, "/c", v)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := want{fmt.Sprint(c.Logins), fmt.Sprint(c.LostHeaders)}
		if got != test.want {
			t.Errorf("%s: Effective = %+v; want %+v", name, got, test.want)
		}
	}
}
