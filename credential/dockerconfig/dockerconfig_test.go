//go:build unix

package dockerconfig

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/internal/input"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const canary = "c4nary-Secret"

func query(t testing.TB, image string) credential.Query {
	t.Helper()
	name, _, _ := strings.Cut(image, "/")
	host, err := mirror.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	return credential.Query{Registry: host, Image: image}
}

func login(user, password string) string {
	return `{"auth":"` + base64.StdEncoding.EncodeToString([]byte(user+":"+password)) + `"}`
}

// TestLookup checks which key answers for an image; each key's user is the key.
func TestLookup(t *testing.T) {
	for _, tt := range []struct{ keys, image, want string }{
		{"a.io", "a.io/x", "a.io"},
		{"a.io", "a.io:5000/x", ""},
		{"a.io:5000", "a.io:5000/x", "a.io:5000"},
		{"a.io:5000", "a.io/x", ""},
		{"A.io", "a.io/x", "A.io"},
		{"https://a.io", "a.io/x", "https://a.io"},
		{"http://a.io/", "a.io/x", "http://a.io/"},
		{"https://a.io/v1/", "a.io/x", "https://a.io/v1/"},
		{"https://a.io/v2", "a.io/x", "https://a.io/v2"},
		{"a.io https://a.io/v1/", "a.io/x", "a.io"},
		{"a.io/team a.io", "a.io/team/x", "a.io/team"},
		{"a.io/team a.io", "a.io/team", "a.io/team"},
		{"a.io/team a.io", "a.io/teamx/app", "a.io"},
		{"a.io/team/ a.io/team/sub", "a.io/team/sub/x", "a.io/team/sub"},
		{"a.io/team", "a.io/x", ""},
		{"https://a.io/v2/team", "a.io/team/x", "https://a.io/v2/team"},
		{"*.azurecr.io", "contoso.azurecr.io/x", "*.azurecr.io"},
		{"*.azurecr.io", "contoso.westeurope.azurecr.io/x", ""},
		{"*.io:5000", "a.io:5000/x", "*.io:5000"},
		{"*.io", "a.io:5000/x", ""},
		{"a.*", "a.io:5000/x", ""},
		{"*.io/team a.io", "a.io/team/x", "a.io"},
		{"[::1]:5000", "[::1]:5000/x", "[::1]:5000"},
		{"[*::1]", "[::1]/x", ""},
		{hubKey, "registry-1.docker.io/library/x", hubKey},
		{hubKey, "docker.io/library/x", hubKey},
		{hubKey, "index.docker.io/library/x", hubKey},
		{"docker.io", "registry-1.docker.io/library/x", "docker.io"},
		{"docker.io " + hubKey, "registry-1.docker.io/library/x", hubKey},
		{"docker.io/library " + hubKey, "registry-1.docker.io/library/x", "docker.io/library"},
		{hubKey, "a.io/x", ""},
		{"user:pass@a.io", "a.io/x", ""},
		{"a.io:443", "a.io/x", "a.io:443"},
		{"https://a.io:443/v1/", "a.io/x", "https://a.io:443/v1/"},
		{"*.io:443", "a.io/x", "*.io:443"},
		{"a.io:443/team", "a.io/team/x", "a.io:443/team"},
		{"a.io:443/team", "a.io/teamx/app", ""},
		{"a.io a.io:443", "a.io/x", "a.io"},
		{"a.io:80", "a.io/x", ""},
		{"[::1]:443", "[::1]/x", "[::1]:443"},
		{"[::1]", "[::1]/x", "[::1]"},
		{"https://index.docker.io:443/v1/", "registry-1.docker.io/library/x", "https://index.docker.io:443/v1/"},
		{"http a.io:80", "a.io/x", "a.io:80"}, // "http" has the registry be reached by plain http
		{"http http://a.io:80/", "a.io/x", "http://a.io:80/"},
		{"http a.io", "a.io/x", "a.io"},
		{"http a.io:443", "a.io/x", ""},
		{"http *.io:80/team", "a.io/team/x", "*.io:80/team"},
		{"", "a.io/x", ""},
	} {
		var auths []string
		keys, plain := strings.CutPrefix(tt.keys, "http ")
		for key := range strings.FieldsSeq(keys) {
			auths = append(auths, fmt.Sprintf(`%q:{"username":%q,"password":"p"}`, key, key))
		}
		s, err := Parse("f.json", []byte(`{"auths":{`+strings.Join(auths, ",")+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		asked := query(t, tt.image)
		asked.Plain = plain
		c, err := s.Credential(t.Context(), asked)
		if c.Username != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s for %s = %q, %v; want %q", tt.keys, tt.image, c.Username, err, tt.want)
		}
	}
}

func TestEntry(t *testing.T) {
	for in, want := range map[string]string{ // user and password, or a part of the error
		login("u", "p:q"):                     "u p:q",
		login("u", "p\x00\x00"):               "u p",
		`{"auth":" dTpw "}`:                   "u p",
		`{"auth":"dTpwcA"}`:                   "u pp",
		`{"auth":"dTpwcA=="}`:                 "u pp",
		`{"username":"u","password":"p"}`:     "u p",
		`{"username":"x","auth":"dTpw"}`:      "u p",
		`{"email":"x","auth":"dTpw"}`:         "u p",
		`{"auth":"` + canary + `"}`:           `entry "a.io" under auths has an auth that is not base64; write`,
		`{"auth":"YzRuYXJ5LVNlY3JldA=="}`:     "has an auth without a colon; write",
		`{"username":"u"}`:                    "has no password; write",
		login("", canary):                     "has no username; write",
		`{"identitytoken":"` + canary + `"}`:  "has an identitytoken, and the kubelet can hand on",
		`{"registrytoken":"` + canary + `"}`:  "has a registrytoken, and the kubelet can hand on",
		`{"auth":"dTo=","identitytoken":"x"}`: "has an identitytoken",
		`{}`:                                  `f.json: entry "a.io" under auths is empty; write "a.io": {"auth": "base64 of user:password"} there`,
		`null`:                                "is empty; write",
		`{"email":"x@y.z"}`:                   "is empty; write",
	} {
		s, err := Parse("f.json", []byte(`{"auths":{"a.io":`+in+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Credential(t.Context(), query(t, "a.io/x"))
		got := c.Username + " " + c.Password.Reveal()
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != want || !strings.Contains(got, want) {
			t.Errorf("entry %s = %s; want %s", in, got, want)
		}
		checkSecret(t, err, s, *s)
	}
}

func TestNoEntry(t *testing.T) {
	for _, tt := range []struct{ file, image, want string }{
		{"/etc/x.json", "a.io/x", `/etc/x.json: no entry for "a.io" under auths; write "a.io": {"auth": "base64 of user:password"} there`},
		{"/etc/x.json", "registry-1.docker.io/x/y", `no entry for "registry-1.docker.io" under auths; write "https://index.docker.io/v1/": {`},
		{"/root/.docker/config.json", "a.io:5000/x", `run "docker --config /root/.docker login a.io:5000"`},
		{"/root/.docker/config.json", "registry-1.docker.io/x/y", `run "docker --config /root/.docker login docker.io"`},
	} {
		s, err := Parse(tt.file, []byte(`{"auths":{"b.io":`+login("u", canary)+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Credential(t.Context(), query(t, tt.image))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s for %s = %v; want %s", tt.file, tt.image, err, tt.want)
		}
		checkSecret(t, err, s, *s)
	}
	s, _ := Parse("f.json", []byte("{}"))
	if _, err := s.Credential(t.Context(), credential.Query{}); err == nil {
		t.Error("Credential of no registry has no error")
	}
}

// TestLacksUnusable checks that an entry that gives no username and password is
// treated as missing, with the reason that the plugin gives.
func TestLacksUnusable(t *testing.T) {
	for in, want := range map[string]string{
		login("u", canary):                    "",
		`{"auth": "` + canary + `!"}`:         `entry "a.io" under auths has an auth that is not base64`,
		`{"auth": "bm9jb2xvbg=="}`:            `entry "a.io" under auths has an auth without a colon`,
		`{"identitytoken": "` + canary + `"}`: `entry "a.io" under auths has an identitytoken, and the kubelet can hand on only a username and a password`,
		`{"username": "u"}`:                   `entry "a.io" under auths has no password`,
		`{"email": "someone@example.com"}`:    `entry "a.io" under auths is empty`,
	} {
		s, err := Parse("f.json", []byte(`{"auths":{"a.io":`+in+`}}`))
		if err != nil {
			t.Fatal(err)
		}
		what, repair := s.Lacks(query(t, "a.io/x"))
		if what != want || (want == "") != (repair == "") || strings.Contains(what+repair, canary) {
			t.Errorf("Lacks with %s = %q, %q; want %q", in, what, repair, want)
		}
	}
}

func TestParseFault(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "f.json:1: not JSON; write it",
		"{\n\"auths\": " + canary + "}":         "f.json:2: not JSON",
		`{"auths":{}} ` + canary:                "f.json:1: not JSON",
		"{\n\n\"auths\":\"" + canary + "\"}":    "f.json:3: not a docker config.json",
		`{"auths":{"a.io":{"password":12345}}}`: "a value has the wrong type",
		`{"credsStore":["` + canary + `"]}`:     "a value has the wrong type",
		`[]`:                                    "not a docker config.json",
	} {
		_, err := Parse("f.json", []byte(in))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "12345") {
			t.Errorf("Parse(%s) = %v; want %s", in, err, want)
		}
		checkSecret(t, err)
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	fifo, link := filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	good := write("good", `{"auths":{"a.io":`+login("u", "p")+`}}`, 0o400)
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(good, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		good:                          "",
		link:                          "",
		write("group", canary, 0o640): "has mode 0640 and holds passwords; run: chmod 0600 " + dir + "/group",
		write("world", canary, 0o604): "chmod 0600 " + dir + "/world",
		write("bad", canary, 0o600):   "/bad:1: not JSON",
		write("long", strings.Repeat(" ", maxFile)+"{}", 0o600): "/long: this file is larger than 1 MiB",
		fifo:             "/fifo: this is a FIFO, not a file",
		dir:              ": this is a directory, not a file",
		dir + "/missing": "/missing does not exist; write it with mode 0600",
		good + "/x":      "/good/x: not a directory",
	} {
		checkRead(t, path, want)
	}
}

// TestReadOwner has a config.json be another user's, who can read and change it
// whatever its mode.
func TestReadOwner(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("files of other users need root")
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"auths":{"a.io":`+login("u", "p")+`}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	checkRead(t, path, "")
	if err := os.Chown(path, 65534, 0); err != nil {
		t.Fatal(err)
	}
	checkRead(t, path, "belongs to another user; chown root "+path)
}

// checkRead reads a file that gives that error, or if want is "" a credential for
// a.io.
func checkRead(t *testing.T, path, want string) {
	t.Helper()
	s, err := Read(input.Read, path)
	if got := fmt.Sprint(err); (want == "") != (err == nil) || !strings.Contains(got, want) {
		t.Errorf("Read(%s) = %s; want %s", path, got, want)
	}
	checkSecret(t, err)
	if err != nil {
		return
	}
	if c, err := s.Credential(t.Context(), query(t, "a.io/x")); err != nil || c.Username != "u" {
		t.Errorf("%s: %q, %v; want u", path, c.Username, err)
	}
}

// FuzzParse checks that a file that is taken gives a whole credential or one
// line of an error, for a host that it names and for one that it may name.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"auths":{"a.io":` + login("u", "p") + `,"https://index.docker.io/v1/":{"identitytoken":"x"}},"credsStore":"x","credHelpers":{"b.io":"y"}}`))
	f.Add([]byte(`{"auths":{"*.io/x":{"username":"u","password":"p"},"[::1]:5":{"auth":"eDp5"},"a.io/v2/x":null}}`))
	f.Setenv("PATH", "")
	asks := []credential.Query{query(f, "a.io/x"), query(f, "registry-1.docker.io/library/x"), query(f, "[::1]:5/x")}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("f.json", data)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Fatalf("Parse(%q) = %q; want one line", data, err)
			}
			return
		}
		for _, a := range asks {
			c, err := s.Credential(t.Context(), a)
			switch {
			case err == nil && (c.Username == "" || c.Password == ""):
				t.Fatalf("%q for %s: half a credential", data, a.Image)
			case err != nil && strings.ContainsAny(err.Error(), "\n\x00"):
				t.Fatalf("%q for %s: %q; want one line", data, a.Image, err)
			}
		}
	})
}

func checkSecret(t *testing.T, values ...any) {
	t.Helper()
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if shown := fmt.Sprintf(verb, v); strings.Contains(shown, canary) {
				t.Errorf("%s of %T shows a secret: %s", verb, v, shown)
			}
		}
	}
}
