package hosts

import (
	"context"
	"fmt"
	"io"
	"net/http"
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
)

// An oracle asks a containerd which registries it would call for images of a
// host, with the hosts.toml tree below root.
type oracle struct {
	name    string
	version Version
	ask     func(root, host string) ([]called, error)
}

// A called is one registry that containerd would call, in a form that the map's
// meaning, Read's answer and both lines of containerd can be compared in.
type called struct {
	address      string // scheme://host path
	capabilities string
	header       string
	tls          string
}

func (c called) String() string {
	return fmt.Sprintf("%s [%s] %s {%s}", c.address, c.capabilities, c.header, c.tls)
}

func describe(list []called) string {
	lines := make([]string, len(list))
	for i, c := range list {
		lines[i] = c.String()
	}
	return strings.Join(lines, "\n")
}

func mustVersion(s string) Version {
	v, err := ParseVersion(s)
	if err != nil {
		panic(err)
	}
	return v
}

var (
	v1 = oracle{"containerd 1.7.35", mustVersion("1.7.35"), ask1}
	v2 = oracle{"containerd 2.4.2", mustVersion("2.4.2"), ask2}
)

func ask1(root, host string) ([]called, error) {
	hosts, err := config1.ConfigureHosts(context.Background(), config1.HostOptions{HostDir: config1.HostDirFromRoot(root)})(host)
	list := make([]called, len(hosts))
	for i, h := range hosts {
		bits := []bool{h.Capabilities.Has(docker1.HostCapabilityPull), h.Capabilities.Has(docker1.HostCapabilityResolve), h.Capabilities.Has(docker1.HostCapabilityPush)}
		list[i] = called{h.Scheme + "://" + h.Host + " " + h.Path, bitNames(bits), headerText(h.Header), clientText(h.Client)}
	}
	return list, err
}

func ask2(root, host string) ([]called, error) {
	hosts, err := config2.ConfigureHosts(context.Background(), config2.HostOptions{HostDir: config2.HostDirFromRoot(root)})(host)
	list := make([]called, len(hosts))
	for i, h := range hosts {
		bits := []bool{h.Capabilities.Has(docker2.HostCapabilityPull), h.Capabilities.Has(docker2.HostCapabilityResolve), h.Capabilities.Has(docker2.HostCapabilityPush), h.Capabilities.Has(docker2.HostCapabilityReferrers)}
		list[i] = called{h.Scheme + "://" + h.Host + " " + h.Path, bitNames(bits), headerText(h.Header), clientText(h.Client)}
	}
	return list, err
}

func bitNames(bits []bool) string {
	var names []string
	for i, name := range []string{"pull", "resolve", "push", "referrers"} {
		if i < len(bits) && bits[i] {
			names = append(names, name)
		}
	}
	return strings.Join(names, " ")
}

func headerText(header map[string][]string) string {
	var lines []string
	for name, values := range header {
		lines = append(lines, fmt.Sprintf("%q=%q", name, values))
	}
	slices.Sort(lines)
	return strings.Join(lines, " ")
}

// clientText says what can be seen of a client's TLS settings: nothing, if it
// wraps its transport to turn to http.
func clientText(client *http.Client) string {
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		return "fallback"
	}
	c := transport.TLSClientConfig
	return tlsText(c.InsecureSkipVerify, c.RootCAs != nil, len(c.Certificates))
}

func tlsText(skip, ca bool, clients int) string {
	return fmt.Sprintf("skip=%v ca=%v clients=%d", skip, ca, clients)
}

// calledByRead is what Read says, in the form of the oracles.
func calledByRead(endpoints []Endpoint) []called {
	list := make([]called, len(endpoints))
	for i, e := range endpoints {
		tls := tlsText(e.SkipVerify, e.CA != nil, len(e.Client))
		if e.Fallback {
			tls = "fallback"
		}
		list[i] = called{e.Scheme + "://" + e.Host + " " + e.Path, strings.Join(e.Capabilities, " "), headerText(e.Header), tls}
	}
	return list
}

// TestMain keeps containerd from logging each file that a test makes it refuse.
func TestMain(m *testing.M) {
	logrus.SetOutput(io.Discard)
	os.Exit(m.Run())
}

// write writes a file and the directories above it.
func write(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// compareRead holds Read against an oracle: data is the only hosts.toml below
// root, and both are asked for host.
func compareRead(t testing.TB, o oracle, root string, data []byte, host string) (list []called, refused error) {
	t.Helper()
	write(t, filepath.Join(root, Default, FileName), data)
	want, err := o.ask(root, host)
	if err != nil {
		return nil, nil // a ca or client that cannot be loaded
	}
	endpoints, refused := Read(data, host, o.version)
	if got := calledByRead(endpoints); describe(got) != describe(want) {
		t.Errorf("Read(%q, %q, %s):\n%s\nwant, as %s:\n%s\n(refused: %v)", data, host, o.version, describe(got), o.name, describe(want), refused)
	}
	return want, refused
}
