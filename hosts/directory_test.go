package hosts

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// What a directory of the trees of TestDirectory may be made of.
var (
	directoryKinds = []string{"none", "none", "dir", "dir", "dir", "file", "link", "dangling link", "circle"}
	hostsKinds     = []string{"none", "none", "good", "empty", "torn", "byte order mark", "dir", "dangling link"}
	certNames      = []string{"ca.crt", "b.crt", ".crt", "client.cert", "client.key", "z.cert", "lone.key", "CA.CRT", "x.crt.bak", "README"}
)

const goodHosts = "server = \"https://m.example\"\n\n[host]\n"

// A treeMaker makes one tree after the other.
type treeMaker struct {
	*rand.Rand
	pems pems
	root string
}

func (m *treeMaker) must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// directory makes one directory, or what is in its place, and says what.
func (m *treeMaker) directory(t testing.TB, name string) string {
	kind := pick(m.Rand, directoryKinds)
	at := filepath.Join(m.root, name)
	switch kind {
	case "file":
		write(t, at, []byte(goodHosts))
	case "link":
		to := filepath.Join(m.root, ".to-"+name)
		m.must(t, os.Symlink(to, at))
		return kind + " " + m.fill(t, to)
	case "dangling link":
		m.must(t, os.Symlink(filepath.Join(m.root, "nowhere"), at))
	case "circle":
		m.must(t, os.Symlink(at, at))
	case "dir":
		return kind + " " + m.fill(t, at)
	}
	return kind
}

// fill puts a hosts.toml and certificates into a directory.
func (m *treeMaker) fill(t testing.TB, dir string) string {
	m.must(t, os.MkdirAll(dir, 0o755))
	kind, file := pick(m.Rand, hostsKinds), filepath.Join(dir, FileName)
	switch kind {
	case "good":
		write(t, file, []byte(goodHosts))
	case "empty":
		write(t, file, nil)
	case "torn":
		write(t, file, []byte("server = \"https://m.exam"))
	case "byte order mark":
		write(t, file, []byte("\ufeff"+goodHosts))
	case "dir":
		m.must(t, os.Mkdir(file, 0o755))
	case "dangling link":
		m.must(t, os.Symlink("nowhere", file))
	}
	said := "hosts.toml " + kind
	for _, name := range some(m.Rand, certNames, m.IntN(5)) {
		from := m.pems.ca
		switch filepath.Ext(name) {
		case ".key":
			from = m.pems.key
		case ".cert":
			// Without its key a pair is looked for in one file.
			if from = m.pems.both; name == "client.cert" {
				from = m.pems.cert
			}
		}
		if chance(m.Rand, 10) {
			m.must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
			said += " " + name + "/"
			continue
		}
		m.must(t, os.Symlink(from, filepath.Join(dir, name)))
		said += " " + name
	}
	return said
}

// expect says what containerd does by this package's rules: the registries that
// it calls, or that the pull fails.
func expect(root, host string, v Version) ([]Endpoint, error) {
	var odd error
	name, ok := Pick(host, func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			odd = err
			return true
		}
		return err == nil
	})
	if odd != nil {
		return nil, odd
	}
	if !ok {
		return Read(nil, host, v)
	}
	dir := filepath.Join(root, name)
	data, err := os.ReadFile(filepath.Join(dir, FileName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	endpoints, _ := Read(data, host, v)
	if !ReadsCerts(data, v) {
		return endpoints, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	certs := FindCerts(names)
	last := &endpoints[len(endpoints)-1]
	last.CA = certs.CA
	last.Client = certs.Client
	for _, pair := range certs.Client {
		// The test's certificate and key are a pair; containerd rejects one
		// without the other.
		if pair[0] == "client.cert" && pair[1] == "" {
			return nil, errors.New("no key")
		}
		if info, err := os.Stat(filepath.Join(dir, strings.TrimSuffix(pair[0], ".cert")+".key")); err == nil && info.IsDir() {
			return nil, errors.New("the key is a directory")
		}
	}
	return endpoints, nil
}

// TestDirectory holds the choice of a directory, and what counts in it, against
// both lines of containerd, on trees of every kind.
func TestDirectory(t *testing.T) {
	p := makePEMs(t)
	rounds, met := 1000, map[string]int{}
	if testing.Short() {
		rounds = 300
	}
	for seed := range rounds {
		m := &treeMaker{rand.New(rand.NewPCG(uint64(seed), 7)), p, t.TempDir()}
		host := pick(m.Rand, []string{"harbor.src:5000", "harbor.src", "harbor.src:443", "[2001:db8::1]:5000", "[2001:db8::1]", "docker.io"})
		said := ""
		for _, name := range append(Candidates(host), "Harbor.src:5000", "harbor.src.", "harbor.src:443", "index.docker.io") {
			if _, err := os.Lstat(filepath.Join(m.root, name)); err != nil {
				said += fmt.Sprintf("%s: %s\n", name, m.directory(t, name))
			}
		}
		for _, o := range []oracle{v1, v2} {
			want, wantErr := o.ask(m.root, host)
			endpoints, err := expect(m.root, host, o.version)
			switch {
			case (err != nil) != (wantErr != nil):
				t.Errorf("seed %d, %s, %s: error %v; want %v\n%s", seed, o.name, host, err, wantErr, said)
			case err == nil && describe(calledByRead(endpoints)) != describe(want):
				t.Errorf("seed %d, %s, %s:\n%s\nwant:\n%s\n%s", seed, o.name, host, describe(calledByRead(endpoints)), describe(want), said)
			}
			met[outcomeOf(want, wantErr)]++
		}
		if t.Failed() {
			return
		}
	}
	for _, outcome := range []string{"failed", "mirror", "source", "source with a ca", "source with a client"} {
		if met[outcome] < rounds/50 {
			t.Errorf("%d outcomes of %d are %q; want more", met[outcome], 2*rounds, outcome)
		}
	}
}

func outcomeOf(list []called, err error) string {
	switch {
	case err != nil:
		return "failed"
	case strings.Contains(list[0].address, "m.example"):
		return "mirror"
	case strings.Contains(list[0].tls, "ca=true"):
		return "source with a ca"
	case !strings.Contains(list[0].tls, "clients=0"):
		return "source with a client"
	}
	return "source"
}

// TestCertSettings checks that the settings to write in the map for certificates make
// containerd use the same ones.
func TestCertSettings(t *testing.T) {
	p := makePEMs(t)
	root := t.TempDir()
	dir := filepath.Join(root, "odd \"name\"", "harbor.src:5000")
	for name, from := range map[string]string{"ca.crt": p.ca, "client.cert": p.cert, "client.key": p.key, "z.cert": p.both} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(from, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	certs := FindCerts([]string{"ca.crt", "client.cert", "client.key", "z.cert"})
	settings := strings.ReplaceAll(certs.Settings(dir), " and ", "\n")
	files, err := renderText("version = 1\n[registry.\"harbor.src:5000\"]\n" + settings + "\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, settings)
	}
	write(t, filepath.Join(root, "harbor.src_5000_", FileName), files[0].Data)
	for _, o := range []oracle{v1, v2} {
		before, err := o.ask(filepath.Dir(dir), "harbor.src:5000")
		if err != nil {
			t.Fatal(err)
		}
		after, err := o.ask(root, "harbor.src:5000")
		if err != nil {
			t.Fatal(err)
		}
		if before[0].tls != after[0].tls || !strings.Contains(after[0].tls, "ca=true clients=2") {
			t.Errorf("%s: %s before and %s after", o.name, before[0].tls, after[0].tls)
		}
	}
}

func TestFindCerts(t *testing.T) {
	got := FindCerts([]string{"a.key", "b.cert", "b.key", "ca.crt", "hosts.toml", "n.cert", "x.crt.old"})
	if want := "[ca.crt] [[b.cert b.key] [n.cert ]] [a.key]"; fmt.Sprint(got.CA, got.Client, got.Keys) != want {
		t.Errorf("FindCerts = %v; want %s", got, want)
	}
	if want := []string{"ca.crt", "b.cert", "b.key", "n.cert", "a.key"}; !slices.Equal(got.Files(), want) {
		t.Errorf("Files() = %q; want %q", got.Files(), want)
	}
	if want := `ca = ["/d/ca.crt"] and client = [["/d/b.cert", "/d/b.key"], ["/d/n.cert"]]`; got.Settings("/d") != want {
		t.Errorf("Settings = %s; want %s", got.Settings("/d"), want)
	}
	if none := FindCerts([]string{"hosts.toml", "README"}); !none.None() || none.Settings("/d") != "" {
		t.Errorf("FindCerts of other files = %v; want none", none)
	}
}

func TestShadowed(t *testing.T) {
	for source, want := range map[string][]string{
		"harbor.src:5000": {"harbor.src:5000"}, "harbor.src": nil, "*": nil, "docker.io": nil,
		"[2001:db8::1]:5000": {"[2001:db8::1]:5000"}, "[2001:db8::1]": {"[2001:db8::1]"},
	} {
		s, err := mirror.ParseSource(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := Shadowed(s); !slices.Equal(got, want) {
			t.Errorf("Shadowed(%s) = %q; want %q", source, got, want)
		}
	}
}
