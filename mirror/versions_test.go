package mirror

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// pieces of maps: most are mirrors, some are other tables, and some are what could be
// mistaken for either.
var versionPieces = []string{
	"[[mirror]]\nsource = \"a.example\"\ntargets = [\"contoso.azurecr.io\"]\n",
	"[[mirror]]\nsource = \"b.example\"\ntargets = [\"harbor.corp/b\"]\n\n# a comment\n",
	"[[mirror]]\nsource = \"c.example\"\ntargets = [\n  \"harbor.corp/c\",\n]\n",
	"[[mirror]]\nsource = \"d.example\"\ntargets = [\"http://plain.corp\", \"d.example\"]\n",
	"[[mirror]]\nsource = \"*\"\ntargets = [\"harbor.corp/any\"]\n",
	"[[mirror]]\nsource = \"e.example\"\ntargets = [\"e1.corp\", \"e2.corp\"]\nshare_credential = true\n",
	"[[mirror]]\nsource = \"f.example\"\ntargets = [\"f.corp\"]\nready = \"60s\"\n",
	"[[mirror]]\nsource = \"g.example\"\ntargets = [\"g.corp\"]\nheader = { X-Meta-A = \"b\", X-Key = \"s\" }\n",
	"[[mirror]]\nsource = \"h.example\"\ntargets = [\"h.corp\"]\n[mirror.header]\nX-Meta-A = \"c\"\n",
	"[mirror.header]\nX-Meta-A = \"stray\"\n",
	"[[ mirror ]]\nsource = \"i.example\"\ntargets = [\"i.corp\"]\n",
	"[[\"mirror\"]]\nsource = \"j.example\"\ntargets = [\"j.corp\"]\n",
	"[[mirror]]\r\nsource = \"k.example\"\r\ntargets = [\"k.corp\"]\r\n",
	"[[mirror]] # first\nsource = \"l.example\"\ntargets = [\"l.corp\"]\n",
	"\t[[mirror]]\nsource = \"m.example\"\ntargets = [\"m.corp\"]\n",
	"[[mirror]]\nsource = \"n.example\"\ntargets = [\"n.corp\"]\n" + strings.Repeat(" ", 100) + "[containerd]\nversion = \"2.1\"\n",
	"[[mirror]]\nsource = \"o.example\"\ntargets = [\"not a host\"]\n",
	"[[mirror]]\nsource = \"p.example\"\n",
	"[[mirror]]\nsource = \"q.example\"\ntargets = [\"q.corp\"]", // no end of the line
	"[[mirror]]\nsource = \"r.example\"\ntargets = [\n",
	"[[mirror]]\nsource = \"s.example\"\nsource = \"s.example\"\ntargets = [\"s.corp\"]\n",
	"[[mirror]]\n", "mirror = 1\n", "mirror = []\n", "[mirror]\n",
	"[registry.\"harbor.corp\"]\ncredential = \"c\"\n",
	"[registry.\"harbor.corp/b\"]\ncredential = \"anonymous\"\n",
	"[registry.\"own.corp\"]\nca = \"/ca\"\n",
	"[registry.\"c.example\"]\nskip_verify = true\n",
	"[credential.c]\nkind = \"docker-config\"\npath = \"/c.json\"\n",
	"[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nargs = [\n",
	"[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nargs = [\"\"\"\n",
	"[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nargs = ['''\n", "\"\"\"]\n", "''']\n", "]\n", "[\"a\"],\n",
	"[containerd]\nversion = \"2.2\"\n", "[kubelet]\nmatch = \"any\"\n", "# [[mirror]]\n", "\n", "x = 1\n", "[x]\n", "version = 1\n",
}

// TestVersions parses maps that change at random, one version after the other. Each must
// come out as if it were parsed alone, with the same faults.
func TestVersions(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	good, taken := 0, 0
	for range 300 {
		var v Versions
		var list []string
		for i := range 12 {
			list = append(list, fmt.Sprintf("[[mirror]]\nsource = \"s%d.example\"\ntargets = [\"harbor.corp/s%d\"]\n", i, i))
		}
		list = append(list, versionPieces[slices.Index(versionPieces, "[credential.c]\nkind = \"docker-config\"\npath = \"/c.json\"\n")])
		for range 20 {
			text := "version = 1\n" + strings.Join(list, "")
			_, known := cut(text, v.last)
			if known != nil && known.hasKnown() {
				taken++
			}
			if sameAsAlone(t, &v, text, random.IntN(4)) {
				good++
			}
			list = changed(list, random)
		}
	}
	if good < 1000 || taken < 1000 {
		t.Errorf("%d versions were good and %d had known mirrors; want 1000 of each", good, taken)
	}
}

// inString returns a table with a piece in a string of several lines.
func inString(piece string) string {
	return "[credential.s]\nkind = \"exec\"\ncommand = \"/s\"\nargs = [\"\"\"\n" + piece + "\"\"\"]\n"
}

// changed returns a list of pieces with one change.
func changed(list []string, random *rand.Rand) []string {
	list = slices.Clone(list)
	i := random.IntN(len(list))
	switch random.IntN(7) {
	case 6:
		list[i] = inString(list[i])
	case 0:
		return slices.Delete(list, i, i+1)
	case 1:
		j := random.IntN(len(list))
		list[i], list[j] = list[j], list[i]
	case 2:
		list[i] = strings.Replace(list[i], "example", "test", 1)
	case 3, 4:
		return slices.Insert(list, i, versionPieces[random.IntN(len(versionPieces))])
	default: // what most likely made the map bad goes
		n := len(list)
		list = slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, "[[mirror]]\nsource = \"s") })
		if len(list) == n || len(list) == 0 {
			list = append(list, "\n")
		}
		list = append(list, "[credential.c]\nkind = \"docker-config\"\npath = \"/c.json\"\n[registry.\"harbor.corp\"]\ncredential = \"c\"\n")
	}
	return list
}

// sameAsAlone parses a version in one of the ways there are, and reports whether it is
// good.
func sameAsAlone(t *testing.T, v *Versions, text string, way int) bool {
	t.Helper()
	var got, want *Map
	var err, errWant error
	list := NothingAllowed("allowed")
	switch data := []byte(text); way {
	case 0:
		got, err = v.ParseClosed("map", data)
		want, errWant = ParseClosed("map", data)
	case 1:
		got, err = v.ParseDelivered("map", data, list)
		want, errWant = ParseDelivered("map", data, list)
	default:
		got, err = v.Parse("map", data)
		want, errWant = Parse("map", data)
	}
	if fmt.Sprint(err) != fmt.Sprint(errWant) {
		t.Fatalf("the map\n%s\nhas the faults\n%v\nwhere it is parsed alone\n%v", text, err, errWant)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("the map\n%s\nis\n%+v\nand alone\n%+v", text, got, want)
	}
	return err == nil
}

// FuzzVersions parses any two versions after each other, and the first once more.
func FuzzVersions(f *testing.F) {
	base := "version = 1\n" + versionPieces[0] + versionPieces[3]
	for _, piece := range versionPieces {
		f.Add(base, base+inString(versionPieces[0]+piece))
		f.Add(base, base+piece)
		f.Add(base+piece, "version = 1\n"+piece+versionPieces[0])
	}
	f.Fuzz(func(t *testing.T, one, two string) {
		var v Versions
		for _, text := range []string{one, two, one, one} {
			sameAsAlone(t, &v, text, 2)
		}
	})
}

// A table that is taken over is not looked at by the rules for maps from the cluster.
func TestPlainMirrorsNeedNoPermission(t *testing.T) {
	for _, key := range []string{"mirror.source", "mirror.targets"} {
		if rules[key] != (rule{}) {
			t.Errorf("%s needs a permission, and tables with it are taken over without a look at it", key)
		}
	}
}

// A known mirror is not parsed again, and does not keep the text of old versions.
func TestVersionsTakeOver(t *testing.T) {
	var v Versions
	text := func(target string) string {
		return fmt.Sprintf("version = 1\n[[mirror]]\nsource = \"a.example\"\ntargets = [%q]\n", target) + strings.Repeat("\n", 3) + versionPieces[3] + versionPieces[1]
	}
	if !sameAsAlone(t, &v, text("one.corp"), 2) {
		t.Fatal("the map is bad")
	}
	second := text("two.corp")
	rest, known := cut(second, v.last)
	if want := "version = 1\n[[mirror]]\nsource = \"a.example\"\ntargets = [\"two.corp\"]\n\n\n\n[[mirror]]" + strings.Repeat("\n", 8); rest != want || len(known.steps) != 2 {
		t.Errorf("what is parsed again is\n%q\nwant\n%q", rest, want)
	}
	if !sameAsAlone(t, &v, second, 2) || len(v.last) != 3 || v.last[2].text != versionPieces[1] {
		t.Errorf("known are then %d mirrors", len(v.last))
	}
}

// TestVersionsOddTables parses a map, and then one in which a known table is not what it
// looks like.
func TestVersionsOddTables(t *testing.T) {
	a, b := versionPieces[0], versionPieces[3]
	registry := "[registry.\"x.corp\"]\ncredential = \"anonymous\"\n"
	for what, next := range map[string]string{
		"in a string":                      a + inString(b+registry),
		"in a literal string":              a + strings.ReplaceAll(inString(b+registry), `"""`, "'''"),
		"in a string, beside an empty one": a + "[[ mirror ]]\n" + inString(b+registry),
		"in a list that is open":           a + "[credential.x]\nkind = \"exec\"\ncommand = \"/x\"\nargs = [\n" + b,
		"with a table after another":       a + b + registry + "[mirror.header]\nX-Meta-A = \"b\"\n",
		"with a table behind it":           a + b + "[mirror.header]\nX-Meta-A = \"b\"\n",
		"twice":                            a + b + a,
		"without the end of its line":      a + strings.TrimSuffix(b, "\n"),
		"after a mirror of another kind":   "mirror = 1\n" + a + b,
		"among others that are spelt":      "[[ mirror ]]\nsource = \"x.example\"\ntargets = [\"x.corp\"]\n" + a + b,
		"with a key more":                  a + b + "ready = \"60s\"\n",
		"with a registry of its own":       a + b + "[registry.\"contoso.azurecr.io\"]\ncredential = \"anonymous\"\n",
		"with plain http and a secret":     a + b + "[registry.\"plain.corp\"]\ncredential = \"c\"\n[credential.c]\nkind = \"docker-config\"\npath = \"/c\"\n",
		"with another line":                "\n\n" + b + "\n" + a,
	} {
		t.Run(what, func(t *testing.T) {
			for way := range 3 {
				var v Versions
				if !sameAsAlone(t, &v, "version = 1\n"+a+b, way) {
					t.Fatal("the first map is bad")
				}
				if len(v.last) != 2 {
					t.Fatalf("%d tables are known", len(v.last))
				}
				sameAsAlone(t, &v, "version = 1\n"+next, way)
				sameAsAlone(t, &v, "version = 1\n"+a+b, way)
			}
		})
	}
}
