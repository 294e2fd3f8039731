package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// twoProviders are another tool's.
var twoProviders = otherProvider + strings.ReplaceAll(otherProvider[strings.Index(otherProvider, "  - name:"):], "other", "second")

// look plans and applies once, as the watcher does.
func lookOnce(t *testing.T, n *Node) plan.Plan {
	t.Helper()
	no := func(string) bool { return false }
	todo, err := n.ApplyUnless(t.Context(), no, func(plan.Plan) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	return todo
}

// fresh sets the wall clock to so long after the last change of the kubelet's file.
func fresh(t *testing.T, n *Node, host *fake, age time.Duration) {
	t.Helper()
	v, err := versionOf(nil, n.path(kubeletFile))
	if err != nil {
		t.Fatal(err)
	}
	host.clock = func() time.Time { return v.Changed.Add(age) }
}

// TestTruncatedByWriter plays "(sleep 0.4; cat two.yaml) > FILE": the shell has
// the file empty and open until the other tool's providers are in it.
func TestTruncatedByWriter(t *testing.T) {
	n, host := newNode(t, oneMap)
	write(t, n.path(kubeletFile), twoProviders)
	writer, err := os.OpenFile(n.path(kubeletFile), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	for range 3 { // however long it takes
		wantLeft(t, lookOnce(t, n), "pending mcr.microsoft.com: another program is writing "+n.path(kubeletFile)+", and it is not complete yet")
		wantRouted(t, n, "mcr.microsoft.com", "")
		host.after(time.Minute)
	}
	if _, err := writer.WriteString(twoProviders); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	fresh(t, n, host, time.Second)
	wantLeft(t, lookOnce(t, n), "pending mcr.microsoft.com: another program changed ")
	fresh(t, n, host, stillness)
	wantLeft(t, lookOnce(t, n), "")
	for _, name := range []string{plan.PluginName, "other", "second"} {
		if got := providersOf(t, n); len(got) != 3 || got[name].Name == "" {
			t.Fatalf("the providers are %v; want %s among three", got, name)
		}
	}
}

// TestSettles tells when the kubelet's file is believed.
func TestSettles(t *testing.T) {
	open := func(t *testing.T, n *Node, _ *fake) {
		f, err := os.OpenFile(n.path(kubeletFile), os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
	}
	for name, test := range map[string]struct {
		content string
		age     time.Duration
		do      func(*testing.T, *Node, *fake)
		first   string // what the first look leaves
		second  string // and the one two seconds later, by the machine's clock alone
	}{
		"old":                 {otherProvider, time.Hour, nil, "", ""},
		"fresh":               {otherProvider, time.Second, nil, "pending mcr", ""},
		"of the future":       {otherProvider, -time.Hour, nil, "", ""},
		"open":                {otherProvider, time.Hour, open, "pending mcr", ""},
		"empty and fresh":     {"", time.Second, nil, "pending mcr", ""},
		"empty and open":      {"", time.Hour, open, "pending mcr", "pending mcr"},
		"cut short and open":  {otherProvider[:len(otherProvider)-30] + "\"", time.Hour, open, "pending mcr", "pending mcr"},
		"empty and old":       {"", time.Hour, nil, "", ""},
		"elsewhere and fresh": {otherProvider, time.Second, func(_ *testing.T, n *Node, _ *fake) { n.elsewhere = true }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			write(t, n.path(kubeletFile), test.content)
			fresh(t, n, host, test.age)
			if test.do != nil {
				test.do(t, n, host)
			}
			before := test.content
			wantLeft(t, lookOnce(t, n), test.first)
			if data, _ := os.ReadFile(n.path(kubeletFile)); test.first != "" && string(data) != before {
				t.Errorf("the file is %q; want it as it was", data)
			}
			host.after(stillness)
			wantLeft(t, lookOnce(t, n), test.second)
		})
	}
}

// TestOwnWriteSettles checks that what mirrorcred itself wrote is not waited for.
func TestOwnWriteSettles(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	fresh(t, n, host, 0)
	write(t, n.Map, oneMap+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n")
	wantLeft(t, lookOnce(t, n), "")
}

// TestStockUnsettled checks that with the stock plugin nothing changes while the
// kubelet's file is left.
func TestStockUnsettled(t *testing.T) {
	n, host := newNode(t, oneMap+"[kubelet]\nplugin = \""+mirror.Stock+"\"\n")
	write(t, n.path(kubeletFile), otherProvider)
	fresh(t, n, host, time.Second)
	before := tree(t, n.path("/etc"), true)
	wantLeft(t, lookOnce(t, n), "pending mcr.microsoft.com: another program changed ")
	sameTree(t, tree(t, n.path("/etc"), true), before)
	fresh(t, n, host, time.Minute)
	wantLeft(t, lookOnce(t, n), "")
}

// TestApplyWaits checks that one run waits for a file that becomes still, and
// gives up after five seconds on one that does not.
func TestApplyWaits(t *testing.T) {
	for name, goesOn := range map[string]bool{"becomes still": true, "stays open": false} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			write(t, n.path(kubeletFile), otherProvider)
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				v, err := versionOf(nil, n.path(kubeletFile))
				if err != nil {
					t.Fatal(err)
				}
				host.clock = func() time.Time {
					if !goesOn {
						return v.Changed
					}
					return v.Changed.Add(time.Since(began))
				}
				todo := apply(t, n)
				took := time.Since(began)
				if goesOn {
					wantLeft(t, todo, "")
				} else {
					wantLeft(t, todo, "pending mcr.microsoft.com: another program changed ")
				}
				if want := map[bool]time.Duration{true: stillness, false: patience}[goesOn]; took < want || took > want+time.Second {
					t.Errorf("apply took %v; want %v", took, want)
				}
			})
		})
	}
}

// TestApplyWaitsForMap checks that one run removes no source by a map that was
// changed a moment ago.
func TestApplyWaitsForMap(t *testing.T) {
	n, host := newNode(t, anonymousMap)
	apply(t, n)
	write(t, n.Map, emptyMap)
	v, err := versionOf(nil, n.Map)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		host.clock = func() time.Time { return v.Changed }
		wantLeft(t, apply(t, n), "pending mcr.microsoft.com: its mirror was removed from the map")
		wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
		host.clock = func() time.Time { return v.Changed.Add(stillness) }
		wantLeft(t, apply(t, n), "")
		wantRouted(t, n, "mcr.microsoft.com", "")
	})
}

// TestKubeletStartsWithAnotherToolsFile has the kubelet start while another tool's file is in
// place, and mirrorcred's put back later, by mirrorcred or by that tool: no pull has a
// credential until the kubelet starts again.
func TestKubeletStartsWithAnotherToolsFile(t *testing.T) {
	const routed = "pending mcr.microsoft.com: active, but its pulls "
	for name, test := range map[string]struct {
		putBack func(*testing.T, *Node, string)
		want    string
	}{
		"by us":        {func(*testing.T, *Node, string) {}, routed + "have no credential: the kubelet (process 100) started with a configuration that does not name the source"},
		"by that tool": {func(t *testing.T, n *Node, ours string) { write(t, n.path(kubeletFile), ours) }, routed + "may have no credential: the kubelet's configuration changed after the kubelet (process 100) started"},
	} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			apply(t, n)
			ours, err := os.ReadFile(n.path(kubeletFile))
			if err != nil {
				t.Fatal(err)
			}
			write(t, n.path(kubeletFile), otherProvider)
			host.startKubelet(theFlags...)
			test.putBack(t, n, string(ours))
			wantLeft(t, apply(t, n), test.want)
			wantLeft(t, apply(t, n), test.want)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")

			// What it has read stays known when the other tool changes its own.
			data, err := os.ReadFile(n.path(kubeletFile))
			if err != nil {
				t.Fatal(err)
			}
			write(t, n.path(kubeletFile), string(data)+"# a comment\n")
			wantLeft(t, apply(t, n), "")
		})
	}
}

// TestKubeletStartsMeanwhile has the kubelet start with another tool's file while
// mirrorcred's is put back: after the pass has looked for kubelets, and before its rename. It
// is not taken for one that has read mirrorcred's.
func TestKubeletStartsMeanwhile(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	write(t, n.path(kubeletFile), otherProvider)
	host.after(time.Minute)
	n.disk.step = func(op string, paths ...string) error {
		if op == "rename" && paths[len(paths)-1] == n.path(kubeletFile) {
			host.startKubelet(theFlags...)
			host.after(time.Minute)
		}
		return nil
	}
	apply(t, n)
	n.disk.step = nil
	wantLeft(t, apply(t, n), "pending mcr.microsoft.com: active, but its pulls may have no credential: the kubelet's configuration changed ")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
}

// TestOperatorsLink checks that a link stays one, and what it leads to is
// replaced in place.
func TestOperatorsLink(t *testing.T) {
	for name, to := range map[string]string{"relative": "../../../srv/providers.yaml", "absolute": "/srv/providers.yaml", "twice": "../again.yaml"} {
		t.Run(name, func(t *testing.T) {
			n, _ := newNode(t, oneMap)
			target := n.path("/srv/providers.yaml")
			write(t, target, otherProvider)
			write(t, n.path("/var/lib/kubelet/x"), "")
			if name == "absolute" {
				to = target
			}
			link := n.path(kubeletFile)
			if err := os.Symlink("../../srv/providers.yaml", n.path("/var/lib/again.yaml")); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, link); err != nil {
				t.Fatal(err)
			}
			wantLeft(t, apply(t, n), "")
			if got, err := os.Readlink(link); err != nil || got != to {
				t.Fatalf("the link leads to %q, %v; want %q", got, err, to)
			}
			if got := providersOf(t, n); len(got) != 2 {
				t.Errorf("the providers are %v; want the other's and ours", got)
			}
			if left, _ := filepath.Glob(n.path("/srv/.mirrorcred-*")); len(left) > 0 {
				t.Errorf("left beside the target: %q", left)
			}
			if err := n.RestoreKubelet(t.Context()); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(target)
			if got, errLink := os.Readlink(link); err != nil || errLink != nil || got != to || string(data) != otherProvider {
				t.Errorf("after going back the link leads to %q, %v, and the target is %q, %v", got, errLink, data, err)
			}
		})
	}
}

// TestHostsLink has hosts.toml itself be a link of an operator's.
func TestHostsLink(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	const place = "/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml"
	if err := os.Rename(n.path(place), n.path("/etc/containerd/mcr.toml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../mcr.toml", n.path(place)); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, applyMap(t, n, otherMap), "")
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
	if to, err := os.Readlink(n.path(place)); err != nil || to != "../../mcr.toml" {
		t.Errorf("hosts.toml leads to %q, %v; want it to be the link that it was", to, err)
	}
	// If where it leads is gone, that is reported.
	if err := os.Remove(n.path("/etc/containerd/mcr.toml")); err != nil {
		t.Fatal(err)
	}
	wantLeft(t, apply(t, n), "left "+filepath.Dir(place)+": ")
	if _, err := os.Readlink(n.path(place)); err != nil {
		t.Errorf("the link is not one any more: %v", err)
	}
}

// TestDanglingKubeletLink has the kubelet's file be a link whose target is yet
// to come, in a directory that is there or not.
func TestDanglingKubeletLink(t *testing.T) {
	n, _ := newNode(t, oneMap)
	target := n.path("/srv/config/providers.yaml")
	if err := os.Symlink(target, n.path(kubeletFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err == nil || !strings.Contains(err.Error(), "whose directory does not exist; create that, or remove the link") {
		t.Errorf("Apply = %v; want an error that names the link", err)
	}
	mkdir(t, filepath.Dir(target))
	wantLeft(t, apply(t, n), "")
	if to, err := os.Readlink(n.path(kubeletFile)); err != nil || to != target || len(providersOf(t, n)) != 1 {
		t.Errorf("the link leads to %q, %v", to, err)
	}
}
