package node

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// checkWhole holds a node against what must hold at any moment, for the maps
// that it is between: no leak, no gap, no namespace without its hosts.toml,
// and a configuration with which the kubelet starts.
func checkWhole(t testing.TB, n *Node, maps []string, when string) {
	t.Helper()
	rendered := map[string][]rendered{} // by source
	stock := false
	for _, text := range maps {
		m, err := mirror.Parse("map", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		stock = stock || m.Kubelet.Stock
		files, err := hosts.Render(m, hosts.Options{Secrets: map[string]string{"/etc/mirrorcred/harbor.header": "canary-header"}})
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range files {
			name := f.Source.String()
			rendered[name] = append(rendered[name], generationOf(m, m.Mirrors[i], f))
		}
	}
	for source, list := range rendered {
		host := source
		if source == "*" {
			host = "unnamed.example"
		}
		if list = append(list, rendered["*"]...); stock {
			checkStockSource(t, n, host, list, when)
			continue
		}
		checkSource(t, n, host, list, when)
	}
	checkNamespaces(t, n, when)
	checkKubeletFile(t, n, when)
}

// A rendered is a hosts.toml that one of the maps makes, and who may be
// offered what under it.
type rendered struct {
	data   string
	offers []string // "registry credential"
}

func generationOf(m *mirror.Map, one mirror.Mirror, f hosts.File) rendered {
	r := rendered{data: string(f.Data)}
	for _, target := range one.Targets {
		if target.Credential != "" {
			r.offers = append(r.offers, target.Host().String()+" "+target.Credential)
		}
	}
	return r
}

// checkSource compares what containerd would read for a host with what the
// plugin would answer for it.
func checkSource(t testing.TB, n *Node, host string, list []rendered, when string) {
	t.Helper()
	file := inForceFor(t, n, host)
	i := slices.IndexFunc(list, func(r rendered) bool { return file != "" && r.data == file })
	var allowed []string
	if i >= 0 {
		allowed = list[i].offers
	}
	offers, err := answer(t, n, host)
	var got []string
	for _, o := range offers {
		if o.Credential != nil {
			got = append(got, o.Ask.Registry.String()+" "+o.Credential.Name)
		}
	}
	switch {
	case err == nil && !slices.Equal(got, allowed):
		t.Errorf("%s: %s is offered %q, where containerd reads\n%q\nand %q may be offered", when, host, got, file, allowed)
	case err != nil && errors.Is(err, fs.ErrNotExist) && len(allowed) == 0: // no routes yet
	case err != nil && len(allowed) > 0 && !strings.Contains(err.Error(), "being drained"):
		t.Errorf("%s: %s is routed to %q, and there is no answer: %v", when, host, allowed, err)
	}
}

// inForceFor returns the hosts.toml that containerd reads for a host.
func inForceFor(t testing.TB, n *Node, host string) string {
	t.Helper()
	for _, name := range hosts.Candidates(host) {
		if _, err := os.Stat(n.path("/etc/containerd/certs.d", name)); err == nil {
			return hostsOf(t, n, name)
		}
	}
	return ""
}

// answer does as the plugin does: the route of the host, or that of "*", held
// against the hosts.toml in force (cmd/internal/plugin, routes.go).
func answer(t testing.TB, n *Node, host string) ([]credential.Offer, error) {
	t.Helper()
	own := hosts.Candidates(host)[0]
	route, err := routeAt(n, own)
	if errors.Is(err, fs.ErrNotExist) {
		own = hosts.Default
		route, err = routeAt(n, own)
	}
	if err != nil {
		return nil, err
	}
	image, err := mirror.ParseImage(host + "/app/image")
	if err != nil {
		t.Fatal(err)
	}
	var now credential.InForce
	for _, name := range hosts.Candidates(host) {
		if _, err := os.Stat(n.path(route.HostsDir, name)); err == nil {
			now = credential.InForce{Namespace: name}
			if text := hostsOf(t, n, name); text != "" {
				now.Hosts = []byte(text)
			}
			break
		}
	}
	if now.Namespace == hosts.Default && route.Withdrawn == "" {
		own = hosts.Default
		if route, err = routeAt(n, own); err != nil {
			return nil, err
		}
	}
	return route.Offers(image, own, now)
}

func routeAt(n *Node, namespace string) (credential.Route, error) {
	data, err := os.ReadFile(n.path(routesDir, namespace+".json"))
	if err != nil {
		return credential.Route{}, err
	}
	return credential.DecodeRoute(data)
}

// checkNamespaces looks for directories that containerd would pick and that
// have no hosts.toml, or one that others can read although it has a secret.
func checkNamespaces(t testing.TB, n *Node, when string) {
	t.Helper()
	dir := n.path("/etc/containerd/certs.d")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		info, err := os.Stat(n.path("/etc/containerd/certs.d", e.Name(), "hosts.toml"))
		if err != nil {
			t.Errorf("%s: %s is there without a hosts.toml: %v", when, e.Name(), err)
			continue
		}
		if strings.Contains(hostsOf(t, n, e.Name()), "canary") && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %s has a secret and mode %v", when, e.Name(), info.Mode())
		}
	}
}

func checkKubeletFile(t testing.TB, n *Node, when string) {
	t.Helper()
	data, err := os.ReadFile(n.path(mirror.DefaultKubeletConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var entries []kubeletconfig.Entry
	if err == nil {
		entries, err = kubeletconfig.Read(kubeletconfig.File{Name: "config.yaml", Data: data})
	}
	for _, e := range entries {
		// As the kubelet looks for them when it starts.
		if _, missing := exec.LookPath(n.path(mirror.DefaultBinDir, e.Name)); missing != nil && (isOurs(e.Name) || e.Name == mirror.Stock) {
			err = missing
		}
	}
	if err != nil {
		t.Errorf("%s: the kubelet would not start: %v", when, err)
	}
}
