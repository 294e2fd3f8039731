package node

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
)

// holding applies a map and holds all that it takes away.
func holding(t testing.TB, n *Node, text string) plan.Plan {
	t.Helper()
	write(t, n.Map, text)
	todo, err := n.ApplyUnless(t.Context(), func(string) bool { return true }, func(plan.Plan) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	return todo
}

// wantAnswer fails unless a host is routed to a target whose credential is
// answered.
func wantAnswer(t *testing.T, n *Node, host, target string) {
	t.Helper()
	if file := hostsReadFor(t, n, host); !strings.Contains(file, target) {
		t.Errorf("%s is served by %q; want %s", host, file, target)
	}
	offers, err := decided(t, n, host)
	if err != nil || len(offers) == 0 || offers[0].Credential == nil || offers[0].Query.Registry.String() != target {
		t.Errorf("the answer for %s is %v, %v; want the credential of %s", host, offers, err, target)
	}
}

// mirrorOf is a mirror in a map.
func mirrorOf(source, target string) string {
	return "[[mirror]]\nsource = \"" + source + "\"\ntargets = [\"" + target + "\"]\n"
}

// TestHeld takes one source out of a map and puts another in, and retargets a
// third. What is held stays as it is, and the rest is done.
func TestHeld(t *testing.T) {
	const kept = "docker.io"
	tests := map[string]struct {
		before, after string // a part of the map
		source, host  string // that is held, and a host of it
	}{
		"a mirror":              {before: mirrorOf("mcr.microsoft.com", "contoso.azurecr.io"), source: "mcr.microsoft.com", host: "mcr.microsoft.com"},
		"a mirror of a port":    {before: mirrorOf("quay.io:5000", "contoso.azurecr.io"), source: "quay.io:5000", host: "quay.io:5000"},
		"the mirror of any":     {before: mirrorOf("*", "contoso.azurecr.io"), source: "*", host: "unnamed.example"},
		"with one of any":       {before: mirrorOf("mcr.microsoft.com", "contoso.azurecr.io") + mirrorOf("*", "other.azurecr.io"), after: mirrorOf("*", "other.azurecr.io"), source: "mcr.microsoft.com", host: "mcr.microsoft.com"},
		"with a new one of any": {before: mirrorOf("mcr.microsoft.com", "contoso.azurecr.io"), after: mirrorOf("*", "other.azurecr.io"), source: "mcr.microsoft.com", host: "mcr.microsoft.com"},
		"served by itself":      {before: mirrorOf("mcr.microsoft.com", "contoso.azurecr.io"), after: "[registry.\"mcr.microsoft.com\"]\n", source: "mcr.microsoft.com", host: "mcr.microsoft.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, "version = 1\n"+test.before+mirrorOf(kept, "contoso.azurecr.io"))
			apply(t, n)
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			after := "version = 1\n" + test.after + mirrorOf(kept, "fabrikam.azurecr.io") + mirrorOf("ghcr.io", "contoso.azurecr.io")
			for range 2 {
				todo := holding(t, n, after)
				if len(todo.Held) != 1 || todo.Held[0].Source != test.source || len(todo.Draining) > 0 {
					t.Errorf("held are %v and draining %v; want %s held", todo.Held, todo.Draining, test.source)
				}
				wantAnswer(t, n, test.host, "contoso.azurecr.io")
				wantAnswer(t, n, kept, "fabrikam.azurecr.io")
				// A kubelet that starts meanwhile asks for all of them.
				host.startKubelet(theFlags...)
			}
			wantLeft(t, holding(t, n, after), "")
			wantAnswer(t, n, "ghcr.io", "contoso.azurecr.io")
			wantLeft(t, apply(t, n), "draining "+test.source+": ")
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			wantAnswer(t, n, "ghcr.io", "contoso.azurecr.io")
			if file := hostsReadFor(t, n, test.host); strings.Contains(file, "contoso.azurecr.io") {
				t.Errorf("in the end %s is served by %q", test.host, file)
			}
		})
	}
}

// TestHeldChangesNothing checks that a map without mirrors changes nothing while the
// removals are held, and that the previous map then changes nothing either.
func TestHeldChangesNothing(t *testing.T) {
	for name, text := range map[string]string{"with a credential": oneMap, "anonymous": anonymousMap, "any": sharedMap} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, text)
			apply(t, n)
			host.startKubelet(theFlags...)
			apply(t, n)
			write(t, n.Map, emptyMap)
			before := tree(t, n.Root, true)
			if todo := holding(t, n, emptyMap); len(todo.Held) == 0 || len(todo.Changes) > 0 {
				t.Errorf("held are %v and changes %d; want all held", todo.Held, len(todo.Changes))
			}
			sameTree(t, tree(t, n.Root, true), before)
			if todo := applyMap(t, n, text); len(todo.Changes) > 0 {
				t.Errorf("the previous map changes %d files", len(todo.Changes))
			}
		})
	}
}

// TestHeldToken checks that a provider which is handed a token stays as long as
// a mirror that needs it is held, even if another one comes.
func TestHeldToken(t *testing.T) {
	n, host := newNode(t, tokenMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	before := tree(t, n.path("/var/lib/kubelet"), true)
	if todo := holding(t, n, oneMap); len(todo.Held) != 2 || len(todo.Changes) > 0 {
		t.Errorf("held are %v and changes %d; want docker.io and its registry held and nothing changed", todo.Held, len(todo.Changes))
	}
	sameTree(t, tree(t, n.path("/var/lib/kubelet"), true), before)
	holding(t, n, oneMap+mirrorOf("ghcr.io", "contoso.azurecr.io"))
	host.startKubelet(theFlags...)
	if todo := holding(t, n, oneMap+mirrorOf("ghcr.io", "contoso.azurecr.io")); len(todo.Held) != 2 || len(todo.Pending) > 0 {
		t.Errorf("held are %v and pending %v; want docker.io and its registry held and nothing pending", todo.Held, todo.Pending)
	}
	wantAnswer(t, n, "ghcr.io", "contoso.azurecr.io")
	after := (plan.State{}).EntriesOf(theKubeletFile(t, n))
	if len(after) != 2 || !slices.Contains(after[1].Match, "docker.io") || !slices.Contains(after[0].Match, "ghcr.io") {
		t.Errorf("our providers are %v; want that of the pods to match docker.io, and the other ghcr.io", after)
	}
}

func theKubeletFile(t *testing.T, n *Node) kubeletconfig.File {
	t.Helper()
	data, err := os.ReadFile(n.path(kubeletFile))
	if err != nil {
		t.Fatal(err)
	}
	return kubeletconfig.File{Name: "config.yaml", Data: data}
}

// TestHeldLosesNoCredential checks that a map without its last tables takes no
// credential away while it is held, and that the whole map then changes nothing.
func TestHeldLosesNoCredential(t *testing.T) {
	const tables = "[registry.\"harbor.corp\"]\ncredential = \"harbor\"\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n"
	text := "version = 1\n" + mirrorOf("mcr.microsoft.com", "harbor.corp")
	n, host := newNode(t, text+tables)
	apply(t, n)
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	before := tree(t, n.Root, true)
	if todo := holding(t, n, text); len(todo.Held) != 2 || len(todo.Changes) > 0 {
		t.Errorf("held are %v and changes %d; want mcr.microsoft.com and harbor.corp held and nothing changed", todo.Held, len(todo.Changes))
	}
	wantAnswer(t, n, "mcr.microsoft.com", "harbor.corp")
	write(t, n.Map, text+tables)
	wantLeft(t, apply(t, n), "")
	sameTree(t, tree(t, n.Root, true), before)
}

// TestHeldIfReplaced checks that a removal is held if the map is another file by the
// time that it is asked whether the map was still.
func TestHeldIfReplaced(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	write(t, n.Map, emptyMap)
	isStill := func(string) bool {
		write(t, n.Map+".new", oneMap)
		if err := os.Rename(n.Map+".new", n.Map); err != nil {
			t.Fatal(err)
		}
		return false
	}
	todo, err := n.ApplyUnless(t.Context(), isStill, func(plan.Plan) bool { return false })
	if err != nil || len(todo.Held) != 1 {
		t.Errorf("held are %v, %v; want mcr.microsoft.com, which the map names again", todo.Held, err)
	}
}

// TestDrainIsNotHeld checks that a drain which has begun comes to its end.
func TestDrainIsNotHeld(t *testing.T) {
	n, host := removing(t, oneMap)
	pullIntent(t, n, "quay.io/app:1")
	if todo := holding(t, n, emptyMap); len(todo.Held) > 0 {
		t.Errorf("held are %v; want none", todo.Held)
	}
	wantDraining(t, n)
	host.after(2 * time.Minute)
	wantGone(t, n, holding(t, n, emptyMap))
}

// TestHeldIsNotOurs checks that nothing is held but what is mirrorcred's to remove.
func TestHeldIsNotOurs(t *testing.T) {
	n, _ := newNode(t, oneMap)
	apply(t, n)
	file := n.path("/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml")
	for _, text := range []string{"server = \"https://elsewhere.example\"\n", hostsOf(t, n, "mcr.microsoft.com") + "# by hand\n", ""} {
		write(t, file, text)
		if todo := holding(t, n, emptyMap); len(todo.Held) > 0 {
			t.Errorf("with the file %q held are %v; want none", text, todo.Held)
		}
		if data, err := os.ReadFile(file); err != nil || string(data) != text {
			t.Errorf("the file is %q, %v; want it untouched", data, err)
		}
	}
}

// TestHeldDirect checks that ACR login servers are answered as before while the
// last mirror with an Azure credential is held.
func TestHeldDirect(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	for range 2 {
		holding(t, n, emptyMap)
		host.startKubelet(theFlags...)
		if offers, err := decided(t, n, "other.azurecr.io"); err != nil || len(offers) != 1 {
			t.Errorf("the answer for a login server is %v, %v; want its credential", offers, err)
		}
		data, err := os.ReadFile(n.path(kubeletFile))
		if err != nil || !strings.Contains(string(data), "*.azurecr.io") {
			t.Errorf("the kubelet's file is %q, %v; want *.azurecr.io in it", data, err)
		}
	}
}
