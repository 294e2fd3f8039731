package importer

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	docker1 "github.com/containerd/containerd/remotes/docker"
	config1 "github.com/containerd/containerd/remotes/docker/config"
	docker2 "github.com/containerd/containerd/v2/core/remotes/docker"
	config2 "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/sirupsen/logrus"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestMain silences containerd, which logs each file that it refuses.
func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// called returns the registries that containerd calls for images of a host below
// a tree, by its own code: of 2.x, or of 1.7.
func called(t *testing.T, old bool, root, host string) []string {
	t.Helper()
	var list []string
	if old {
		hosts, err := config1.ConfigureHosts(context.Background(), config1.HostOptions{HostDir: config1.HostDirFromRoot(root)})(host)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range hosts {
			list = append(list, fmt.Sprintf("%s://%s%s %v %v %v", h.Scheme, withoutDefault(h.Scheme, h.Host), h.Path,
				h.Capabilities.Has(docker1.HostCapabilityPull), h.Capabilities.Has(docker1.HostCapabilityResolve), h.Header))
		}
		return list
	}
	hosts, err := config2.ConfigureHosts(context.Background(), config2.HostOptions{HostDir: config2.HostDirFromRoot(root)})(host)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range hosts {
		list = append(list, fmt.Sprintf("%s://%s%s %v %v %v", h.Scheme, withoutDefault(h.Scheme, h.Host), h.Path,
			h.Capabilities.Has(docker2.HostCapabilityPull), h.Capabilities.Has(docker2.HostCapabilityResolve), h.Header))
	}
	return list
}

func withoutDefault(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return host
}

// render writes the tree of an imported map and returns its directory.
func render(t *testing.T, result Result) string {
	t.Helper()
	m, err := mirror.Parse("map", result.Map)
	if err != nil {
		t.Fatalf("%v\n%s", err, result.Map)
	}
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		t.Fatalf("%v\n%s", err, result.Map)
	}
	root := t.TempDir()
	for _, f := range files {
		write(t, filepath.Join(root, f.Namespace, hosts.FileName), string(f.Data))
	}
	return root
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTreesGoWhereTheyWent imports random trees and has containerd's own code
// read both: each image goes where it went, but for what is reported.
func TestTreesGoWhereTheyWent(t *testing.T) {
	const trees, seed = 150, 1
	whole, part := 0, 0
	for i := range trees {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		root := t.TempDir()
		sources := map[string]string{} // host by directory
		for _, host := range []string{"docker.io", "quay.io", "harbor.corp:5000", "any.example"} {
			if r.IntN(5) == 0 {
				continue
			}
			dir := host
			switch {
			case host == "any.example":
				dir = hosts.Default
			case strings.Contains(host, ":") && r.IntN(2) == 0:
				dir = strings.ReplaceAll(host, ":", "_") + "_"
			}
			sources[dir] = host
			write(t, filepath.Join(root, dir, hosts.FileName), aFile(r, host))
		}
		if len(sources) == 0 {
			continue
		}
		result, err := Import(root, Options{Share: r.IntN(2) == 0})
		if err != nil {
			t.Fatal(err)
		}
		if said := fmt.Sprint(result.Losses) + string(result.Map); strings.Contains(said, canary) {
			t.Fatalf("a secret is printed:\n%s", said)
		}
		after := render(t, result)
		for dir, host := range sources {
			lost := slices.ContainsFunc(result.Losses, func(l Loss) bool { return strings.Contains(l.File, "/"+dir+"/") })
			for _, old := range []bool{false, true} {
				was, is := called(t, old, root, host), called(t, old, after, host)
				was = slices.Compact(was) // the same registry is not asked twice
				if lost {
					part++
					continue
				}
				whole++
				if !slices.Equal(was, is) {
					t.Errorf("tree %d, containerd 1.7 %v: images of %s went to\n\t%s\nand go to\n\t%s\nthe file:\n%s\nthe map:\n%s",
						i, old, host, strings.Join(was, "\n\t"), strings.Join(is, "\n\t"), read(t, filepath.Join(root, dir, hosts.FileName)), result.Map)
				}
			}
			if t.Failed() {
				return
			}
		}
	}
	t.Logf("%d compared, %d with a loss", whole, part)
	if whole < trees/2 {
		t.Errorf("only %d compared", whole)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// aFile returns a random hosts.toml.
func aFile(r *rand.Rand, source string) string {
	var b strings.Builder
	registry := source
	if source == "docker.io" {
		registry = "registry-1.docker.io"
	}
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	one := func() {
		if r.IntN(3) > 0 {
			b.WriteString("capabilities = " + pick(`["pull"]`, `["pull", "resolve"]`, `["pull", "resolve", "push"]`, `["resolve", "pull"]`) + "\n")
		}
		if r.IntN(6) == 0 {
			b.WriteString("header = { " + pick(`X-Forwarded-For = "a"`, `User-Agent = ["x", "y"]`, `X-Token = "CANARY"`) + " }\n")
		}
	}
	address := func() string {
		host := pick("a.corp", "b.corp:5000", "c.corp:443", "contoso.azurecr.io")
		switch r.IntN(6) {
		case 0:
			return "https://" + host + "/v2/hub\"]\noverride_path = true\n"
		case 1:
			return "https://" + host + "/repository/hub\"]\n"
		case 2:
			return "http://" + pick("plain.corp", "plain.corp:5000") + "\"]\n"
		case 3:
			return host + "\"]\n"
		}
		return "https://" + host + "\"]\n"
	}
	switch r.IntN(4) {
	case 0:
		b.WriteString("server = \"https://" + registry + "\"\n")
	case 1:
		b.WriteString("server = \"https://last.corp\"\n")
		one()
	}
	for range r.IntN(3) {
		b.WriteString("\n[host.\"" + address())
		one()
	}
	if b.Len() == 0 {
		return "\n"
	}
	return b.String()
}
