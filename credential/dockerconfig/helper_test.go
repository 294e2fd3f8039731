//go:build unix

package dockerconfig

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestHelper runs helpers that are small shell scripts, which say by their user
// which server they were asked for.
func TestHelper(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	for name, script := range map[string]string{
		"good":  `read server; echo '{"ServerURL":"x","Username":"'$1 $server'","Secret":"` + canary + `"}'`,
		"token": `echo '{"ServerURL":"x","Username":"<token>","Secret":"` + canary + `"}'`,
		"half":  `echo '{"ServerURL":"x","Username":"u","Secret":""}'`,
		"text":  `echo ` + canary,
		"none":  `echo credentials not found in native keychain; exit 1`,
		"bad":   `echo '{"Secret":"` + canary + `"}'; exit 1`,
		"loud":  `echo '{"Secret":"` + canary + `"}'; echo no network >&2; exit 2`,
	} {
		path := filepath.Join(bin, "docker-credential-"+name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct{ file, image, want string }{
		{`{"credsStore":"good"}`, "a.io/x", "get a.io"},
		{`{"credsStore":"good"}`, "registry-1.docker.io/library/x", "get " + hubKey},
		{`{"credsStore":"good","auths":{"https://a.io/v1/":{}}}`, "a.io/x", "get https://a.io/v1/"},
		{`{"credsStore":"good","auths":{"*.io":{}}}`, "a.io/x", "get a.io"},
		{`{"credsStore":"good","auths":{"a.io":` + login("u", "p") + `}}`, "a.io/x", "u"},
		{`{"credHelpers":{"a.io":"good"},"credsStore":"none","auths":{"a.io":` + login("u", "p") + `}}`, "a.io/x", "get a.io"},
		{`{"credHelpers":{"https://index.docker.io/v1/":"good"}}`, "registry-1.docker.io/library/x", "get " + hubKey},
		{`{"credHelpers":{"b.io":"good"}}`, "a.io/x", `no entry for "a.io"`},
		{`{"credsStore":"token"}`, "a.io/x", `f.json: credsStore "token": it has an identity token for "a.io"`},
		{`{"credsStore":"half"}`, "a.io/x", "no username or no password"},
		{`{"credsStore":"text"}`, "a.io/x", "is not the JSON of a docker credential helper"},
		{`{"credsStore":"none"}`, "a.io/x", "exit status 1: credentials not found in native keychain"},
		{`{"credsStore":"bad"}`, "a.io/x", "exit status 1"},
		{`{"credsStore":"loud"}`, "a.io/x", "exit status 2: no network"},
		{`{"credHelpers":{"a.io":"absent"}}`, "a.io/x", `credHelpers "absent": there is no docker-credential-absent in PATH; install it, or give "a.io" an entry`},
		{`{"credsStore":"../good"}`, "a.io/x", "not the name of a helper; write"},
	} {
		s, err := Parse("f.json", []byte(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.Credential(t.Context(), query(t, tt.image))
		got := c.Username
		if err != nil {
			got = err.Error()
		}
		if err == nil && got != tt.want || !strings.Contains(got, tt.want) {
			t.Errorf("%s for %s = %s; want %s", tt.file, tt.image, got, tt.want)
		}
		checkSecret(t, err, s, *s)
	}
}
