package plan

import (
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// TestLosesCredential changes the credentials of a registry, and of one of its
// repositories, into all others. Nothing is lost if they stay, nor if there were none.
func TestLosesCredential(t *testing.T) {
	lists := []string{`"anonymous"`, `"a"`, `["a", "b"]`, `["b", "a"]`, `["a", "b", "anonymous"]`, `["a", "anonymous"]`}
	var texts []string
	for _, own := range lists {
		for _, below := range append(lists, "") {
			text := "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"r.io\"]\n[registry.\"r.io\"]\ncredential = " + own + "\n"
			if below != "" {
				text += "[registry.\"r.io/team\"]\ncredential = " + below + "\n"
			}
			texts = append(texts, text+"[credential.a]\nkind = \"docker-config\"\npath = \"/a\"\n[credential.b]\nkind = \"docker-config\"\npath = \"/b\"\n")
		}
	}
	file := []byte("x")
	ns := Namespace{Hosts: file}
	generation := func(text string) route.Generation {
		m := desire(text).Map
		return route.NewGeneration(m, m.Mirrors[0], hosts.Hash(file))
	}
	for i, text := range texts {
		before := route.Route{Generations: []route.Generation{generation(text)}}
		asks := strings.Contains(text, `"a"`) || strings.Contains(text, `"b"`)
		for j, other := range texts {
			if got, want := losesCredential(before, ns, generation(other)), asks && i != j; got != want {
				t.Errorf("%sbecomes\n%slost: %t; want %t", text, other, got, want)
			}
		}
	}
}
