package hosts

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestRenderOracle checks what containerd makes of the rendered tree against
// what the map means, and against what Read says, for many maps.
func TestRenderOracle(t *testing.T) {
	files := makePEMs(t)
	seeds := []uint64{rand.Uint64()} // one that is new each time
	for seed := range uint64(200) {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		text, secrets := generateMap(seed, files)
		m, err := mirror.Parse("mirrors.toml", []byte(text))
		if err != nil {
			t.Fatalf("seed %d: Parse(%s): %v", seed, text, err)
		}
		version := mustVersion(m.Containerd.Version)
		tree, err := Render(m, Options{Version: version, Secrets: secrets})
		if refused := version.Before(2, 0, 0) && hasEarlyIPv6(m) || hasPlainTimeout(m, version); refused != (err != nil) {
			t.Fatalf("seed %d: Render(%s): %v; want an error: %v", seed, text, err, refused)
		}
		if err != nil {
			continue
		}
		oracles := []oracle{v2}
		if version.Before(2, 0, 0) { // the zero Version too
			oracles = append(oracles, v1)
		}
		root := t.TempDir()
		for _, f := range tree {
			write(t, filepath.Join(root, f.Namespace, FileName), f.Data)
		}
		for _, o := range oracles {
			holdTree(t, o, m, tree, root, version, secrets)
		}
		if t.Failed() {
			t.Fatalf("seed %d:\n%s", seed, text)
		}
	}
}

// hasEarlyIPv6 reports whether a map has a target that containerd 1.7 reads as
// server only.
func hasEarlyIPv6(m *mirror.Map) bool {
	for _, one := range m.Mirrors {
		for _, t := range one.Targets[:len(one.Targets)-1] {
			if strings.HasPrefix(t.Host().String(), "[") {
				return true
			}
		}
	}
	return false
}

// hasPlainTimeout reports whether a map has a target that containerd 2.0 reads
// as https because of its dial_timeout, and may be of that version.
func hasPlainTimeout(m *mirror.Map, version Version) bool {
	if version != (Version{}) && version.String() != "2.0" {
		return false
	}
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			if t.Scheme() == "http" && t.Settings.DialTimeout > 0 {
				return true
			}
		}
	}
	return false
}

// holdTree asks an oracle for each source of a map, and for hosts that are in
// none.
func holdTree(t *testing.T, o oracle, m *mirror.Map, tree []File, root string, version Version, secrets map[string]string) {
	t.Helper()
	asked := []string{"unmapped.example", "unmapped.example:8443", "localhost:5009", "[2001:db8::9]"}
	for _, one := range m.Mirrors {
		if !one.Source.Any() {
			asked = append(asked, one.Source.String())
		}
	}
	for _, host := range asked {
		got, err := o.ask(root, host)
		if err != nil {
			t.Errorf("%s for %s: %v", o.name, host, err)
			continue
		}
		want := meaning{o, version, host, secrets}.calls(m)
		if describe(got) != describe(want) {
			t.Errorf("%s calls for %s:\n%s\nthe map says:\n%s", o.name, host, describe(got), describe(want))
		}
		endpoints, err := Read(fileRead(tree, host), host, o.version)
		if err != nil || describe(calledByRead(endpoints)) != describe(got) {
			t.Errorf("Read for %s: %v\n%s\n%s calls:\n%s", host, err, describe(calledByRead(endpoints)), o.name, describe(got))
		}
	}
}

// fileRead returns the file that is read for a host.
func fileRead(tree []File, host string) []byte {
	for _, name := range Candidates(host) {
		for _, f := range tree {
			if f.Namespace == name {
				return f.Data
			}
		}
	}
	return nil
}

// A meaning is what a map means for the images of one host. It knows neither
// Render nor Read.
type meaning struct {
	oracle
	render  Version // that the tree is for
	host    string
	secrets map[string]string
}

func (w meaning) calls(m *mirror.Map) []called {
	var found *mirror.Mirror
	for _, one := range m.Mirrors {
		if one.Source.String() == w.host || found == nil && one.Source.Any() {
			found = &one
		}
	}
	if found == nil {
		return []called{w.source("")}
	}
	var list []called
	for i, t := range found.Targets {
		last := i == len(found.Targets)-1
		header := w.header(t.Settings.Header)
		s := t.Settings
		plain := !s.SkipVerify && len(s.CA)+len(s.Client)+len(s.Capabilities) == 0
		if t.Host() == (mirror.Host{}) || last && t.Self() && t.Scheme() == "https" && plain {
			list = append(list, w.source(header))
			continue
		}
		list = append(list, called{
			t.Scheme() + "://" + t.Host().String() + " " + t.API(), w.capabilities(s.Capabilities), header,
			tlsText(s.SkipVerify, len(s.CA) > 0, len(s.Client)),
		})
	}
	return list
}

// source is how containerd calls the host itself by default.
func (w meaning) source(header string) called {
	c := called{"https://" + w.host + " /v2", "pull resolve push referrers", header, tlsText(false, false, 0)}
	if w.name == v1.name {
		c.capabilities = "pull resolve push"
	}
	switch w.host {
	case "docker.io":
		c.address = "https://registry-1.docker.io /v2"
	case "localhost":
		c.tls = tlsText(true, false, 0)
	case "localhost:5000", "localhost:5001", "localhost:5002", "localhost:5009", "[::1]:5003":
		c.tls = "fallback"
	case "127.0.0.1:80":
		c.address = "http://127.0.0.1:80 /v2"
	}
	return c
}

func (w meaning) capabilities(said []string) string {
	if len(said) == 0 {
		said = []string{"pull", "resolve", "referrers"}
	}
	var names []string
	for _, name := range []string{"pull", "resolve", "push", "referrers"} {
		knows := name != "referrers" || w.render != (Version{}) && !w.render.Before(2, 2, 0)
		for _, c := range said {
			if c == name && knows {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, " ")
}

func (w meaning) header(headers []mirror.Header) string {
	values := map[string][]string{}
	for _, h := range headers {
		values[h.Name] = h.Values
		if h.File != "" {
			values[h.Name] = []string{w.secrets[h.File]}
		}
	}
	return headerText(values)
}
