package node

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
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
		one := renderedOf(t, text)
		stock = stock || one.stock
		for source, list := range one.of {
			rendered[source] = append(rendered[source], list...)
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
	checkSecrets(t, n, when)
	checkKubeletFile(t, n, when)
}

// A rendered is a hosts.toml that one of the maps makes, and who may be
// offered what under it.
type rendered struct {
	data   string
	offers []string // "registry credential"
}

// A renderedMap is what a map may be rendered as, by source, and whether it is for
// [mirror.Stock].
type renderedMap struct {
	of    map[string][]rendered
	stock bool
}

// knownMaps are the maps that were rendered before, by their text.
var knownMaps sync.Map

func renderedOf(t testing.TB, text string) renderedMap {
	t.Helper()
	if known, ok := knownMaps.Load(text); ok {
		return known.(renderedMap)
	}
	m, err := mirror.Parse("map", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	one := renderedMap{map[string][]rendered{}, m.Kubelet.Stock}
	for _, files := range renderings(t, m) {
		for i, f := range files {
			name := f.Source.String()
			one.of[name] = append(one.of[name], generationOf(m, m.Mirrors[i], f))
		}
	}
	knownMaps.Store(text, one)
	return one
}

func generationOf(m *mirror.Map, one mirror.Mirror, f hosts.File) rendered {
	r := rendered{data: unsealed(string(f.Data))}
	for _, target := range one.Targets {
		if target.DeliverHosts {
			continue // it is in the file
		}
		for _, name := range target.Credentials {
			if name != mirror.Anonymous {
				r.offers = append(r.offers, target.Host().String()+" "+name)
			}
		}
	}
	return r
}

// checkSource compares what containerd would read for a host with what the
// plugin would answer for it.
func checkSource(t testing.TB, n *Node, host string, list []rendered, when string) {
	t.Helper()
	file := hostsReadFor(t, n, host)
	i := slices.IndexFunc(list, func(r rendered) bool { return file != "" && r.data == unsealed(file) })
	var allowed []string
	if i >= 0 {
		allowed = list[i].offers
	}
	offers, err := decided(t, n, host)
	var got []string
	for _, o := range offers {
		if o.Credential != nil {
			got = append(got, o.Query.Registry.String()+" "+o.Credential.Name)
		}
	}
	forgetful, ok := t.(interface{ forgets(host string) bool })
	switch {
	case ok && len(got) == 0 && forgetful.forgets(host): // no run knows any more whose file it is
	case err == nil && !slices.Equal(got, allowed):
		t.Errorf("%s: %s is offered %q, where containerd reads\n%q\nand %q may be offered", when, host, got, file, allowed)
	case err != nil && errors.Is(err, fs.ErrNotExist) && len(allowed) == 0: // no routes yet
	case err != nil && len(allowed) > 0 && !strings.Contains(err.Error(), "being drained"):
		t.Errorf("%s: %s is routed to %q, and there is no answer: %v", when, host, allowed, err)
	}
}

// hostsReadFor returns the hosts.toml that containerd reads for a host.
func hostsReadFor(t testing.TB, n *Node, host string) string {
	t.Helper()
	for _, name := range hosts.Candidates(host) {
		if _, err := os.Stat(n.path(treeOf(t, n), name)); err == nil {
			return hostsOf(t, n, name)
		}
	}
	return ""
}

// decided reads what the plugin reads (cmd/internal/plugin, routes.go), and
// decides as it does.
func decided(t testing.TB, n *Node, host string) ([]route.Offer, error) {
	t.Helper()
	image, err := mirror.ParseImage(host + "/app/image")
	if err != nil {
		t.Fatal(err)
	}
	own, err := routeAt(n, hosts.Candidates(host)[0])
	if err != nil {
		return nil, err
	}
	wildcard, err := routeAt(n, hosts.Default)
	if err != nil {
		return nil, err
	}
	in := cmp.Or(own, wildcard)
	if in == nil {
		return nil, fs.ErrNotExist
	}
	now := route.Observed{Dir: in.HostsDir}
	for _, name := range hosts.Candidates(host) {
		if _, err := os.Stat(n.path(now.Dir, name)); err == nil {
			now.Namespace = name
			if text := hostsIn(t, n, now.Dir, name); text != "" {
				now.Hosts = []byte(text)
			}
			break
		}
	}
	return route.Decide(image, own, wildcard, now)
}

func routeAt(n *Node, namespace string) (*route.Route, error) {
	data, err := os.ReadFile(n.path(plan.RoutesDir, namespace+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := route.Decode(data)
	return &r, err
}

// checkNamespaces looks for directories that containerd would pick and that
// have no hosts.toml, or one that others can read although it has a secret.
func checkNamespaces(t testing.TB, n *Node, when string) {
	t.Helper()
	dir := n.path(treeOf(t, n))
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), temporary) {
			continue
		}
		if certs, err := filepath.Glob(filepath.Join(dir, e.Name(), "*.crt")); err != nil || len(certs) > 0 {
			continue // another program's
		}
		info, err := os.Stat(filepath.Join(dir, e.Name(), "hosts.toml"))
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
		if _, missing := exec.LookPath(n.path(mirror.DefaultBinDir, e.Name)); missing != nil && (plan.IsOwn(e.Name) || e.Name == mirror.Stock) {
			err = missing
		}
	}
	if err != nil {
		t.Errorf("%s: the kubelet would not start: %v", when, err)
	}
}
