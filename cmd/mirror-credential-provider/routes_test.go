//go:build linux

package main_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/armed"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

const (
	routesDir = "/var/lib/mirrorcred/routes"
	fromRoute = "--registry-mirror=@" + routesDir

	mcr       = "mcr.microsoft.com"
	mcrImage  = "mcr.microsoft.com/oss/kubernetes/pause"
	toFoo     = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"foo.azurecr.io/mcr\"]\n"
	toBar     = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"bar.azurecr.io\"]\n"
	ofPort    = "version = 1\n[[mirror]]\nsource = \"harbor.corp:5000\"\ntargets = [\"foo.azurecr.io\"]\n"
	ofAny     = "version = 1\n[[mirror]]\nsource = \"*\"\ntargets = [\"foo.azurecr.io/any\"]\n"
	noMirror  = "version = 1\n[credential.azure]\nkind = \"azure\"\n"
	byImage   = head + `"Image","cacheDuration":"0s"`
	noAnswer  = byImage + "}\n"
	mcrAnswer = byImage + `,"auth":{"mcr.microsoft.com":` + token + "}}\n"
)

// A tree is a node's files below a directory.
type tree struct{ root string }

func (n tree) hosts(namespace string) string {
	return filepath.Join(n.root, mirror.DefaultHostsDir, namespace, hosts.FileName)
}

func (n tree) route(namespace string) string {
	return filepath.Join(n.root, routesDir, namespace+".json")
}

// plant writes what the manager writes for a map; before are earlier maps whose
// hosts.toml files are not forgotten.
func plant(t testing.TB, text string, before ...string) tree {
	t.Helper()
	n := tree{t.TempDir()}
	writeFile(t, n.root, mirror.DefaultAzureConfig, configs["managed"])
	if err := os.MkdirAll(filepath.Join(n.root, "var/log"), 0o755); err != nil {
		t.Fatal(err)
	}
	m := parse(t, text)
	routes := map[string]route.Route{}
	for _, text := range append([]string{text}, before...) {
		m := parse(t, text)
		for i, file := range render(t, m) {
			r := routes[file.Namespace]
			r.Source, r.HostsDir = file.Source.String(), mirror.DefaultHostsDir
			r.Generations = append(r.Generations, route.NewGeneration(m, m.Mirrors[i], hosts.Hash(file.Data)))
			routes[file.Namespace] = r
		}
	}
	rest := routes[hosts.Default]
	rest.Source, rest.HostsDir = "*", mirror.DefaultHostsDir
	if c, ok := m.Azure(); ok {
		rest.Direct = &c
	}
	routes[hosts.Default] = rest
	for namespace, r := range routes {
		n.writeRoute(t, namespace, r)
	}
	n.arm(t, armed.Record{HostsDir: mirror.DefaultHostsDir, Alone: true})
	n.writeHosts(t, text)
	return n
}

// arm leaves a record of what the node is armed by.
func (n tree) arm(t testing.TB, r armed.Record) {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, n.root, filepath.Join(routesDir, "..", armed.FileName), string(data))
}

func (n tree) writeRoute(t testing.TB, namespace string, r route.Route) {
	t.Helper()
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, n.root, filepath.Join(routesDir, namespace+".json"), string(data))
}

func (n tree) writeHosts(t testing.TB, text string) {
	t.Helper()
	for _, file := range render(t, parse(t, text)) {
		writeFile(t, n.root, filepath.Join(mirror.DefaultHostsDir, file.Namespace, hosts.FileName), string(file.Data))
	}
}

func parse(t testing.TB, text string) *mirror.Map {
	t.Helper()
	m, err := mirror.Parse("mirrors.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func render(t testing.TB, m *mirror.Map) []hosts.File {
	t.Helper()
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// read returns a file's bytes.
func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// replace puts what put puts there in the place of what is there.
func replace(t *testing.T, path string, put func() error) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(path), put()); err != nil {
		t.Fatal(err)
	}
}

// TestRoutes holds the good cases: one credential, under the source, not kept.
func TestRoutes(t *testing.T) {
	cloud, _ := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
	for name, c := range map[string]struct {
		node  tree
		image string
		want  string
	}{
		"a source":               {plant(t, toFoo), mcrImage, mcrAnswer},
		"the generation before":  {plant(t, toFoo, toBar), mcrImage, mcrAnswer},
		"a source with a port":   {plant(t, ofPort), "harbor.corp:5000/a/b", byImage + `,"auth":{"harbor.corp:5000":` + token + "}}\n"},
		"any source":             {plant(t, ofAny), "quay.io/a/b", byImage + `,"auth":{"quay.io":` + token + "}}\n"},
		"any source with a port": {plant(t, ofAny), "[::1]:5000/a", byImage + `,"auth":{"[::1]:5000":` + token + "}}\n"},
		"the target itself":      {plant(t, toFoo), "foo.azurecr.io/x", byImage + `,"auth":{"foo.azurecr.io":` + token + "}}\n"},
		"another registry":       {plant(t, toFoo), "bar.azurecr.io/x", byImage + `,"auth":{"bar.azurecr.io":` + token + "}}\n"},
		"no mirror":              {plant(t, noMirror), "bar.azurecr.io/x", byImage + `,"auth":{"bar.azurecr.io":` + token + "}}\n"},
		"not in the map":         {plant(t, toFoo), "quay.io/x", noAnswer},
		"upper case":             {plant(t, toFoo), "MCR.microsoft.com/x", noAnswer},
	} {
		got := run(t, cloud, names[0], request(c.image), fromRoute, "--root="+c.node.root)
		if got.code != 0 || got.answer() != c.want || got.stderr != "" {
			t.Errorf("%s: it exits %d with %s%s; want %s", name, got.code, got.answer(), got.stderr, c.want)
		}
	}
}

// TestSeveralTargets holds the order of the credentials and what is left if
// one cannot be read.
func TestSeveralTargets(t *testing.T) {
	const text = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\nshare_credential = true\n" +
		"targets = [\"foo.azurecr.io/mcr\", \"bar.azurecr.io\", \"mcr.microsoft.com\"]\n"
	const foo, bar, last = "mcr.microsoft.com/oss/kubernetes/pause", "mcr.microsoft.com/oss/kubernetes/paus", "mcr.microsoft.com"
	const none = `{"username":"","password":""}`
	for name, c := range map[string]struct {
		broken []string
		want   string
		said   string
	}{
		"both":    {nil, byImage + `,"auth":{"` + last + `":` + none + `,"` + bar + `":` + token + `,"` + foo + `":` + token + "}}\n", ""},
		"one":     {[]string{"foo.azurecr.io"}, byImage + `,"auth":{"` + last + `":` + none + `,"` + foo + `":` + token + "}}\n", "foo.azurecr.io: credential \"azure\": registry token exchange"},
		"another": {[]string{"bar.azurecr.io"}, byImage + `,"auth":{"` + last + `":` + none + `,"` + foo + `":` + token + "}}\n", "bar.azurecr.io: credential \"azure\": registry token exchange"},
		"none":    {[]string{"foo.azurecr.io", "bar.azurecr.io"}, "", "bar.azurecr.io: credential \"azure\": registry token exchange"},
	} {
		cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
		for _, host := range c.broken {
			acrs[host].Fail("/oauth2/exchange", azuretest.Echo(http.StatusForbidden))
		}
		got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+plant(t, text).root)
		if (got.code == 0) != (c.want != "") || got.answer() != c.want || !strings.Contains(got.stderr, c.said) || strings.Count(got.stderr, "\n") != min(1, len(c.said)) {
			t.Errorf("%s: it exits %d with %s%s; want %s%s", name, got.code, got.answer(), got.stderr, c.want, c.said)
		}
		if name != "both" {
			continue
		}
		for key, host := range map[string]string{foo: "foo.azurecr.io", bar: "bar.azurecr.io"} {
			if at := audience(t, got.stdout, key); at != host {
				t.Errorf("the credential under %s is that of %s; want %s", key, at, host)
			}
		}
	}
}

// audience returns the registry that the token under a key of an answer is for.
func audience(t *testing.T, answer, key string) string {
	t.Helper()
	_, rest, _ := strings.Cut(answer, fmt.Sprintf("%q:", key))
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(rest, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ = strings.Cut(string(payload), `"aud":"`)
	host, _, _ := strings.Cut(rest, `"`)
	return host
}

// TestDeliveredEntry checks what the plugin returns for a source whose credential is
// in hosts.toml: an attempt without one if the registry wants its token realm, whatever
// containerd reads, and else nothing.
func TestDeliveredEntry(t *testing.T) {
	cloud, acrs := startCloud(t, "foo.azurecr.io")
	for _, wantsRealm := range []bool{true, false} {
		n := plant(t, toFoo)
		n.writeRoute(t, mcr, route.Route{Source: mcr, HostsDir: mirror.DefaultHostsDir, Generations: []route.Generation{{
			SHA256: hosts.Hash(read(t, n.hosts(mcr))), Targets: []route.Target{{Registry: "foo.azurecr.io", Delivered: true, Realm: wantsRealm}},
		}}})
		want := noAnswer
		if wantsRealm {
			want = byImage + `,"auth":{"mcr.microsoft.com":{"username":"","password":""}}}` + "\n"
		}
		for _, change := range []string{"", "# changed\n", "-"} {
			switch change {
			case "":
			case "-":
				if err := os.Remove(n.hosts(mcr)); err != nil {
					t.Fatal(err)
				}
			default:
				appendTo(t, n.hosts(mcr), change)
			}
			if got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root); got.code != 0 || got.stdout != want {
				t.Errorf("realm %v, %q: exit code %d, %s%s; want %s", wantsRealm, change, got.code, got.stdout, got.stderr, want)
			}
		}
	}
	checkUnasked(t, cloud, acrs["foo.azurecr.io"])
}

// TestHostsReplacedWhileAsking checks that the answer is that of the hosts.toml at its end:
// it is replaced while the registry is asked for the credential.
func TestHostsReplacedWhileAsking(t *testing.T) {
	for name, c := range map[string]struct {
		turn func(*testing.T, tree)
		want string // the registry whose credential is returned, or the error
	}{
		"retargeted": {func(t *testing.T, n tree) { n.writeHosts(t, toBar) }, "bar.azurecr.io"},
		"removed":    {func(t *testing.T, n tree) { os.Remove(n.hosts(mcr)) }, "does not exist or is empty"},
		"edited":     {func(t *testing.T, n tree) { os.WriteFile(n.hosts(mcr), []byte("# mine\n"), 0o644) }, "is not as mirrorcred wrote it"},
		"withdrawn": {func(t *testing.T, n tree) {
			n.writeRoute(t, mcr, route.Route{Source: mcr, HostsDir: mirror.DefaultHostsDir, Withdrawn: "its mirror was removed"})
		}, "its mirror was removed"},
	} {
		cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
		n := plant(t, toFoo, toBar)
		acrs["foo.azurecr.io"].Fail("/oauth2/exchange", azuretest.Times(1, func(*azuretest.Exchange) bool {
			c.turn(t, n)
			return false
		}))
		got := run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root)
		if got.code == 0 {
			if at := audience(t, got.stdout, mcr); at != c.want {
				t.Errorf("%s: the credential is that of %s; want %s", name, at, c.want)
			}
		} else if !strings.Contains(got.stderr, c.want) {
			t.Errorf("%s: %s; want %s", name, got.stderr, c.want)
		}
	}
}
