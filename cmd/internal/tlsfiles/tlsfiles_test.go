package tlsfiles

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	config1 "github.com/containerd/containerd/remotes/docker/config"
	config2 "github.com/containerd/containerd/v2/core/remotes/docker/config"

	"github.com/mirrorcred/mirrorcred/cmd/internal/tlsfiles/tlstest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// asIs is a machine where each file is where the map says.
func asIs(file string) string { return file }

// writeFiles writes all that a file may hold, and returns their paths by name,
// with some that cannot be read among them.
func writeFiles(t *testing.T, now time.Time) map[string]string {
	t.Helper()
	dir := t.TempDir()
	paths := map[string]string{"missing": filepath.Join(dir, "missing"), "directory": dir, "below-file": filepath.Join(dir, "text", "x")}
	for name, data := range tlstest.Files(now) {
		paths[name] = filepath.Join(dir, name)
		if err := os.WriteFile(paths[name], data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return paths
}

// refuses reports whether each line of containerd refuses a hosts.toml with a
// setting in it.
func refuses(t *testing.T, setting string) bool {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "h.example")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte("server = \"https://h.example\"\n"+setting+"\n[host]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err1 := config1.ConfigureHosts(context.Background(), config1.HostOptions{HostDir: config1.HostDirFromRoot(root)})("h.example")
	_, err2 := config2.ConfigureHosts(context.Background(), config2.HostOptions{HostDir: config2.HostDirFromRoot(root)})("h.example")
	if (err1 == nil) != (err2 == nil) {
		t.Fatalf("%s: containerd 1.7 says %v, and 2.4 %v", setting, err1, err2)
	}
	return err2 != nil
}

// hold compares what Check says with what containerd does.
func hold(t *testing.T, now time.Time, s mirror.Settings, setting string) {
	t.Helper()
	got := New(asIs, os.ReadFile, now).Check(s)
	refused := slices.ContainsFunc(got, func(p Problem) bool { return !p.Expired })
	if want := refuses(t, setting); refused != want {
		t.Errorf("Check(%s) = %v; containerd refuses it: %v", setting, got, want)
	}
	for _, p := range got {
		if !strings.Contains(p.Text, "; ") && !strings.HasPrefix(p.Text, "cannot be read: ") || p.File == "" || p.Key == "" {
			t.Errorf("Check(%s) = %+v; want what to do", setting, p)
		}
		if strings.Contains(p.Text, "-----BEGIN PRIVATE KEY-----\n") {
			t.Errorf("Check(%s) = %+v; that is a key", setting, p)
		}
	}
}

// TestAsContainerd holds each kind of file, and each pair of them, against what
// both lines of containerd take.
func TestAsContainerd(t *testing.T) {
	now := time.Now()
	paths := writeFiles(t, now)
	names := slices.Sorted(maps.Keys(paths))
	for _, one := range names {
		hold(t, now, mirror.Settings{CA: []string{paths[one]}}, fmt.Sprintf("ca = %q", paths[one]))
		hold(t, now, mirror.Settings{CA: []string{paths["good.crt"], paths[one]}}, fmt.Sprintf("ca = [%q, %q]", paths["good.crt"], paths[one]))
		hold(t, now, mirror.Settings{Client: [][2]string{{paths[one], ""}}}, fmt.Sprintf("client = [[%q, %q]]", paths[one], paths[one]))
		for _, other := range names {
			pair := [2]string{paths[one], paths[other]}
			hold(t, now, mirror.Settings{Client: [][2]string{pair}}, fmt.Sprintf("client = [[%q, %q]]", pair[0], pair[1]))
		}
	}
}

// TestFaultsOfEachFile checks what is reported for each file, first as a CA and then as a client's
// certificate with a key.
func TestFaultsOfEachFile(t *testing.T) {
	now := time.Now()
	paths := writeFiles(t, now)
	for _, tt := range []struct{ ca, cert, key, want string }{
		{ca: "good.crt"},
		{ca: "noted.crt"},
		{ca: "rotated.crt"},
		{ca: "torn-good.crt"},
		{ca: "good.pem"},
		{ca: "missing", want: "ca missing does not exist; put it there"},
		{ca: "directory", want: "ca directory cannot be read: is a directory"},
		{ca: "empty", want: "ca empty is empty; write"},
		{ca: "blank", want: "ca blank is empty; write"},
		{ca: "text", want: "ca text holds no certificate in PEM; it must begin"},
		{ca: "cut.crt", want: "ca cut.crt holds no certificate in PEM"},
		{ca: "der.crt", want: "ca der.crt is in DER, and containerd reads PEM; run: openssl x509 -inform DER"},
		{ca: "good.key", want: "ca good.key holds a private key where the certificate should be; name the certificate"},
		{ca: "encrypted.key", want: "ca encrypted.key holds a private key where"},
		{ca: "trusted.crt", want: `ca trusted.crt holds a "TRUSTED CERTIFICATE", which containerd does not read; run: openssl x509`},
		{ca: "request.csr", want: `ca request.csr holds a "CERTIFICATE REQUEST" and no certificate`},
		{ca: "headed.crt", want: "ca headed.crt holds a certificate with header lines"},
		{ca: "torn.crt", want: "ca torn.crt holds a certificate that cannot be read (x509: "},
		{ca: "expired.crt", want: "ca expired.crt holds a certificate that expired on "},
		{ca: "early.crt", want: "ca early.crt holds a certificate that is not valid before "},
		{ca: "two-old.crt", want: "ca two-old.crt holds a certificate that "},
		{cert: "good.crt", key: "good.key"},
		{cert: "good.pem"},
		{cert: "good-2.pem"},
		{cert: "good.crt", key: "parameters.key"},
		{cert: "good.crt", key: "missing", want: "client missing does not exist"},
		{cert: "missing", key: "missing", want: "client missing does not exist"},
		{cert: "good.crt", key: "other.key", want: "client other.key holds a private key that does not belong to the certificate in "},
		{cert: "swapped.pem", want: "client swapped.pem holds a private key that does not belong to"},
		{cert: "good.crt", want: "client good.crt holds a certificate and no private key; add the key"},
		{cert: "good.key", want: "client good.key holds a private key where the certificate should be"},
		{cert: "good.key", key: "good.crt", want: "client good.key holds a private key where the certificate should be"},
		{cert: "good.crt", key: "other.crt", want: "client other.crt holds a certificate where the private key should be; name the key"},
		{cert: "good.crt", key: "encrypted.key", want: "client encrypted.key holds an encrypted private key, and containerd has no passphrase for it; run: openssl pkey"},
		{cert: "good.crt", key: "encrypted-1.key", want: "client encrypted-1.key holds an encrypted private key"},
		{cert: "encrypted.pem", want: "client encrypted.pem holds an encrypted private key"},
		{cert: "good.crt", key: "der.key", want: "client der.key holds no private key in PEM"},
		{cert: "good.crt", key: "public.key", want: "client public.key holds no private key in PEM"},
		{cert: "good.crt", key: "torn.key", want: "client torn.key is refused by containerd: failed to parse private key"},
		{cert: "torn.crt", key: "good.key", want: "client torn.crt holds a certificate that cannot be read"},
		{cert: "trusted.crt", key: "good.key", want: `client trusted.crt holds a "TRUSTED CERTIFICATE"`},
		{cert: "expired.crt", key: "expired.key", want: "client expired.crt holds a certificate that expired on "},
	} {
		var s mirror.Settings
		if tt.ca != "" {
			s.CA = []string{paths[tt.ca]}
		} else {
			s.Client = [][2]string{{paths[tt.cert], paths[tt.key]}}
		}
		var said []string
		for _, p := range New(asIs, os.ReadFile, now).Check(s) {
			said = append(said, p.Key+" "+filepath.Base(p.File)+" "+p.Text)
		}
		if tt.ca == "directory" && len(said) > 0 {
			said[0] = strings.Replace(said[0], filepath.Base(paths["directory"]), "directory", 1)
		}
		if got := strings.Join(said, "\n"); !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" || len(said) > 1 {
			t.Errorf("Check(%+v) = %q; want %q", tt, got, tt.want)
		}
	}
}

// TestOnce checks that a file is read once, however many registries name it.
func TestOnce(t *testing.T) {
	reads := map[string]int{}
	files := tlstest.Files(time.Now())
	c := New(asIs, func(file string) ([]byte, error) { reads[file]++; return files[file], nil }, time.Now())
	for range 3 {
		s := mirror.Settings{CA: []string{"good.crt", "text"}, Client: [][2]string{{"good.pem", ""}, {"good.crt", "good.key"}}}
		if got := c.Check(s); len(got) != 1 || got[0].File != "text" {
			t.Errorf("Check = %v; want the text alone", got)
		}
	}
	for file, n := range reads {
		if n != 1 {
			t.Errorf("%s was read %d times", file, n)
		}
	}
}
