package plan

import (
	"slices"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/route"
)

// TestHasCredentials tells route files that have exactly the credentials of a mirror
// from those that have more, fewer, others, or a list in another order. It does not
// tell which repository has which: a map that was cut short has fewer.
func TestHasCredentials(t *testing.T) {
	lists := []string{`"anonymous"`, `"a"`, `["a", "b"]`, `["b", "a"]`, `["a", "b", "anonymous"]`, `["a", "anonymous"]`}
	var texts []string
	var has [][]string
	for _, own := range lists {
		for _, below := range append(lists, "") {
			text := "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"r.io\"]\n[registry.\"r.io\"]\ncredential = " + own + "\n"
			if below != "" {
				text += "[registry.\"r.io/team\"]\ncredential = " + below + "\n"
			}
			both := slices.DeleteFunc([]string{own, below}, func(list string) bool { return list == "" || list == `"anonymous"` })
			has = append(has, both)
			texts = append(texts, text+"[credential.a]\nkind = \"docker-config\"\npath = \"/a\"\n[credential.b]\nkind = \"docker-config\"\npath = \"/b\"\n")
		}
	}
	for i, text := range texts {
		m := desire(text).Map
		file, err := route.Route{Generations: []route.Generation{route.NewGeneration(m, m.Mirrors[0], "x")}}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		for j, other := range texts {
			m := desire(other).Map
			got := hasCredentials(file, m.Mirrors[0], credentialTexts{m, map[string][]byte{}})
			lacks := func(list string) bool { return !slices.Contains(has[i], list) }
			if want := len(has[i]) == len(has[j]) && !slices.ContainsFunc(has[j], lacks); got != want {
				t.Errorf("the route of\n%sis taken for that of\n%s: %t", text, other, got)
			}
		}
	}
}
