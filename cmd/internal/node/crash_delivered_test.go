package node

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// headersMap has credentials in hosts.toml: two in one file, with the source behind them,
// and one in a file without its source.
const headersMap = `version = 1
[[mirror]]
source = "quay.io"
targets = ["harbor.corp", "other.corp/hub", "quay.io"]
[[mirror]]
source = "docker.io"
targets = ["harbor.corp/hub"]
[registry."harbor.corp"]
credential = "harbor"
deliver = "hosts"
[registry."other.corp"]
credential = "other"
deliver = "hosts"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
[credential.other]
kind = "docker-config"
path = "/etc/mirrorcred/other.json"
`

// Maps of what becomes of it.
var (
	byKubeletMap   = strings.NewReplacer("deliver = \"hosts\"\n", "", "targets = [\"harbor.corp\", \"other.corp/hub\", \"quay.io\"]", "targets = [\"harbor.corp\"]").Replace(headersMap)
	sharedByMap    = strings.NewReplacer("deliver = \"hosts\"\n", "", "\"quay.io\"]\n", "\"quay.io\"]\nshare_credential = true\n").Replace(headersMap)
	definedAnewMap = strings.Replace(headersMap, "/harbor.json", "/renamed.json", 1)
	headersElse    = strings.NewReplacer("\"harbor.corp", "\"third.corp").Replace(headersMap)
	headersToACR   = strings.NewReplacer("targets = [\"harbor.corp\", \"other.corp/hub\", \"quay.io\"]", "targets = [\"contoso.azurecr.io\"]").Replace(headersMap)
	headersToAll   = strings.NewReplacer("targets = [\"harbor.corp\", \"other.corp/hub\", \"quay.io\"]", "targets = [\"mirror.example\", \"quay.io\"]").Replace(headersMap)
	anyByKubelet   = emptyMap + "[[mirror]]\nsource = \"*\"\ntargets = [\"contoso.azurecr.io/any\"]\n"
	headersAndAny  = headersMap + strings.TrimPrefix(anyByKubelet, emptyMap)
	headersMoved   = strings.Replace(headersMap, emptyMap, emptyMap+"[containerd]\nhosts_dir = \"/srv/certs.d\"\n", 1)
)

// withDelivered adds transitions of nodes with credentials in hosts.toml. The values of
// the maps before are handed over; then does what happens to them with the last map.
func withDelivered(list map[string]transition) map[string]transition {
	maps.Copy(list, map[string]transition{
		"headers wait":               {before: in(), after: headersMap},
		"headers first":              {before: in(), after: headersMap, then: handed(2)},
		"headers renewed":            {before: in(headersMap), after: headersMap, then: handed(2)},
		"headers ended":              {before: in(headersMap), after: headersMap, then: handedEnded(2, "")},
		"one header ended":           {before: in(headersMap), after: headersMap, then: handedEnded(2, "harbor.corp")},
		"another header ended":       {before: in(headersMap), after: headersMap, then: handedEnded(2, "other.corp")},
		"headers back":               {before: with(in(headersMap), handedEnded(1, "")), after: headersMap, then: handed(2)},
		"headers ended, then gone":   {before: with(in(headersMap), handedEnded(1, "")), after: emptyMap},
		"headers lost":               {before: in(headersMap), after: headersMap, then: lost},
		"headers gone":               {before: in(headersMap), after: emptyMap},
		"headers defined anew":       {before: in(headersMap), after: definedAnewMap},
		"headers defined and handed": {before: in(headersMap), after: definedAnewMap, then: handed(2)},
		"headers to others":          {before: in(headersMap), after: headersElse, then: handed(2)},
		"headers to others, waiting": {before: in(headersMap), after: headersElse},
		"headers to no one":          {before: in(headersMap), after: headersToAll},
		"headers to ACR":             {before: in(headersMap), after: headersToACR},
		"headers to ACR, done":       {before: restarted(headersMap, headersToACR), after: headersToACR},
		"headers move":               {before: in(headersMap), after: headersMoved, then: movesTree},
		"headers move, renewed":      {before: in(headersMap), after: headersMoved, then: then(movesTree, handed(2))},
		"headers move, ended":        {before: in(headersMap), after: headersMoved, then: then(movesTree, handedEnded(2, ""))},

		"to headers":                 {before: in(byKubeletMap), after: headersMap, then: handed(2), held: true},
		"to headers, waiting":        {before: in(byKubeletMap), after: headersMap, held: true},
		"to headers, ended":          {before: in(byKubeletMap), after: headersMap, then: handedEnded(2, ""), held: true},
		"to headers, shared":         {before: in(sharedByMap), after: headersMap, then: handed(2), held: true},
		"to headers, no route":       {before: robbed(in(byKubeletMap), plan.RoutesDir), after: headersMap, then: handed(2), held: true, upset: true},
		"to headers, no file":        {before: robbed(in(byKubeletMap), certsDir), after: headersMap, then: handed(2), held: true},
		"to headers, nothing":        {before: robbed(in(byKubeletMap), certsDir, plan.RoutesDir), after: headersMap, then: handed(2)},
		"to headers, drained":        {before: drained(byKubeletMap, headersMap), after: headersMap, runs: 2},
		"to headers, drained, later": {before: with(drained(byKubeletMap, headersMap), handed(1)), after: headersMap, then: handed(2)},
		"to headers, restarted":      {before: restarted(byKubeletMap, headersMap), after: headersMap, runs: 2},
		"to headers from any":        {before: in(anyByKubelet), after: headersAndAny, then: handed(2), held: true, runs: 2},
		"to headers, moving":         {before: in(byKubeletMap), after: headersMoved, then: then(movesTree, handed(2)), held: true, upset: true},
		"to headers, out and in":     {before: in(byKubeletMap, emptyMap), after: headersMap, then: handed(2)},
		"from headers":               {before: in(headersMap), after: byKubeletMap},
		"from headers, restarted":    {before: restarted(headersMap, byKubeletMap), after: byKubeletMap},
		"from headers, no route":     {before: robbed(restarted(headersMap, byKubeletMap), plan.RoutesDir), after: byKubeletMap},
		"from headers, shared":       {before: restarted(headersMap, sharedByMap), after: sharedByMap},
		"from headers and back":      {before: restarted(headersMap, byKubeletMap), after: headersMap, then: handed(2)},
		"from headers, ended":        {before: with(restarted(headersMap, byKubeletMap), handedEnded(1, "")), after: byKubeletMap},
	})
	return list
}

// A step is what is done to a node before a run.
type step func(*testing.T, *Node)

// then returns steps in their order as one.
func then(steps ...step) step {
	return func(t *testing.T, n *Node) {
		for _, one := range steps {
			one(t, n)
		}
	}
}

// with returns what a transition begins with, followed by a step and a run.
func with(before func(*testing.T, *Node, *fake), next step) func(*testing.T, *Node, *fake) {
	return func(t *testing.T, n *Node, host *fake) {
		before(t, n, host)
		next(t, n)
		apply(t, n)
	}
}

// robbed returns what a transition begins with, after which another program removes
// all of some directories.
func robbed(before func(*testing.T, *Node, *fake), dirs ...string) func(*testing.T, *Node, *fake) {
	return func(t *testing.T, n *Node, host *fake) {
		before(t, n, host)
		for _, dir := range dirs {
			names, err := filepath.Glob(n.path(dir, "*"))
			if err != nil || len(names) == 0 {
				t.Fatal("nothing to remove", err)
			}
			for _, name := range names {
				if err := os.RemoveAll(name); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// movesTree has containerd read the other tree.
func movesTree(t *testing.T, n *Node) {
	text, err := os.ReadFile(n.Map)
	if err != nil {
		t.Fatal(err)
	}
	moveTo(t, n, trees[1], "")
	write(t, n.Map, string(text))
}

// handed has all credentials of the map handed over that are in hosts.toml.
func handed(serial int) step {
	return func(t *testing.T, n *Node) { handAll(t, n, serial, func(string) bool { return false }) }
}

// handedEnded is [handed] for credentials of which those of a registry have expired, or all
// if it is "".
func handedEnded(serial int, registry string) step {
	return func(t *testing.T, n *Node) {
		handAll(t, n, serial, func(host string) bool { return registry == "" || registry == host })
	}
}

func handAll(t *testing.T, n *Node, serial int, hasEnded func(host string) bool) {
	t.Helper()
	eachDelivered(t, n, func(store handover.Store, key, host string) error {
		v := handover.Value{Registry: host, Authorization: credential.Secret(secretOf(host, serial)), Credential: "harbor", Until: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
		if hasEnded(host) {
			v.Until = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		return store.SetValue(key, v)
	})
}

// lost takes away what was handed over.
func lost(t *testing.T, n *Node) {
	eachDelivered(t, n, func(store handover.Store, key, _ string) error { return store.Remove(key) })
}

func eachDelivered(t *testing.T, n *Node, do func(store handover.Store, key, host string) error) {
	t.Helper()
	m, err := n.ReadMap()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range m.Mirrors {
		for _, target := range one.Targets {
			if key, ok := target.Delivery(); ok {
				if err := do(handover.New(n.path(handover.Dir)), key, target.Host().String()); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// secretOf returns a header's value that names its registry.
func secretOf(host string, serial int) string {
	return "Basic c4n4ry/" + host + "/" + strconv.Itoa(serial)
}

var anyCanary = regexp.MustCompile(`(c4n4ry/[^/]+)/\d+`)

// unsealed returns the content of a file that mirrorcred rendered, the same for each value
// that was handed over, and any other file as it is.
func unsealed(data string) string {
	if hosts.OwnerOf([]byte(data)) != hosts.Ours {
		return data
	}
	_, body, _ := strings.Cut(data, "\n")
	return anyCanary.ReplaceAllString(body, "$1/0")
}

// renderings returns what a map may be rendered as: once for each choice of delivered
// registries whose credentials have expired.
func renderings(t testing.TB, m *mirror.Map) [][]hosts.File {
	t.Helper()
	secrets := map[string]string{"/etc/mirrorcred/harbor.header": "canary-header"}
	keys := map[string][]string{} // by the registry
	for _, one := range m.Mirrors {
		for _, target := range one.Targets {
			if key, ok := target.Delivery(); ok {
				host := target.Host().String()
				secrets[key], keys[host] = secretOf(host, 0), append(keys[host], key)
			}
		}
	}
	ended := []map[string]plan.Delivery{{}}
	for _, list := range keys {
		for _, before := range ended[:len(ended):len(ended)] {
			more := maps.Clone(before)
			for _, key := range list {
				more[key] = plan.Delivery{Until: time.Unix(1, 0)}
			}
			ended = append(ended, more)
		}
	}
	var all [][]hosts.File
	for _, given := range ended {
		_, present := plan.Deliver(m, given, time.Unix(2, 0))
		files, err := hosts.Render(present, hosts.Options{Secrets: secrets})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, files)
	}
	return all
}

// checkSecrets looks at each file of a node for the credentials that were handed over.
// They are in files that only root can read: in their own directory, in the hosts.toml of
// a directory that only root can enter, where they are in the table of their own host
// alone, and in such a file that is being written.
func checkSecrets(t testing.TB, n *Node, when string) {
	t.Helper()
	err := filepath.WalkDir(n.Root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(data), "c4n4ry") {
			return err
		}
		checkSecretFile(t, n, path, string(data), when)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkSecretFile is [checkSecrets] for a file with a credential.
func checkSecretFile(t testing.TB, n *Node, path, data, when string) {
	t.Helper()
	mode := func(path string) fs.FileMode {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode().Perm()
	}
	dir := filepath.Dir(path)
	isBuilt := strings.HasPrefix(filepath.Base(path), temporary)
	if mode(path) != 0o600 || !isBuilt && mode(dir) != 0o700 {
		t.Errorf("%s: %s has a credential, and mode %v in a directory of mode %v", when, path, mode(path), mode(dir))
	}
	switch {
	case dir == n.path(handover.Dir):
		return
	case filepath.Base(path) != hosts.FileName && !isBuilt:
		t.Errorf("%s: %s has a credential", when, path)
	}
	sent := 0
	endpoints, _ := hosts.Read([]byte(data), "source.example", hosts.Version{})
	for _, e := range endpoints {
		for _, value := range e.Header["Authorization"] {
			if sent++; !strings.HasPrefix(value, "Basic c4n4ry/"+e.Host+"/") || e.Scheme != "https" {
				t.Errorf("%s: by %s, %s://%s is sent %q", when, path, e.Scheme, e.Host, value)
			}
		}
	}
	if has := strings.Count(data, "c4n4ry"); sent != has {
		t.Errorf("%s: %s has %d credentials, and %d are sent to a host", when, path, has, sent)
	}
}

// checkHeld tells that no credential is in force in a hosts.toml of a mirror for which the
// kubelet may hold one.
func checkHeld(t testing.TB, n *Node, tr transition, when string) {
	t.Helper()
	for _, source := range []string{"quay.io", "docker.io"} {
		if file := hostsReadFor(t, n, source); tr.held && strings.Contains(file, "c4n4ry") {
			t.Errorf("%s: the kubelet may hold a credential for %s, and its hosts.toml has one too:\n%s", when, source, file)
		}
	}
}
