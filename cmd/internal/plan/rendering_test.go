package plan

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestRenderingAgain renders maps that change at random, one after the other. Each must come
// out as if it had been rendered first.
func TestRenderingAgain(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	var r Rendering
	taken := 0
	m := &randomMap{kind: "docker-config", dir: "/certs"}
	for range 1200 {
		m.mirrors = append(m.mirrors, m.mirror(random))
	}
	for range 40 {
		d := desiredOf(t, m)
		o := hosts.Options{Secrets: map[string]string{"/secret": fmt.Sprint(m.secret)}}
		before := slices.Clone(r.list)
		if err := r.Render(&d, o); err != nil {
			t.Fatal(err)
		}
		files, err := hosts.Render(d.Map, o)
		if err != nil {
			t.Fatal(err)
		}
		closeFiles(files, d.full())
		if !reflect.DeepEqual(d.Files, files) {
			t.Fatal("the files differ from those of a map that is rendered first")
		}
		for i, f := range files {
			got, err := d.sole(i)
			want, errWant := d.soleRoute(i, f)
			if err != nil || errWant != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("mirror of %s: its route is\n%s, %v; want\n%s, %v", f.Source, got.data, err, want.data, errWant)
			}
			if len(before) > i && &before[i].file.Data[0] == &d.Files[i].Data[0] {
				taken++
			}
		}
		m.change(random)
	}
	if taken < 10_000 {
		t.Errorf("only %d files were taken over", taken)
	}
}

// A randomMap is a map that changes at random.
type randomMap struct {
	mirrors []string
	sources int    // that there ever were
	kind    string // of the credential "c"
	header  bool
	dir     string
	secret  int
}

// mirror returns the mirror of a new source.
func (m *randomMap) mirror(random *rand.Rand) string {
	m.sources++
	target := []string{"contoso.azurecr.io/p", "harbor.corp", "harbor.corp/proxy", "http://plain.corp", "open.corp"}[random.IntN(5)]
	return fmt.Sprintf("[[mirror]]\nsource = \"r%d.example\"\ntargets = [\"%s\"]\n", m.sources, target)
}

// change changes one thing: most often a mirror, or several, and now and then what all
// depend on.
func (m *randomMap) change(random *rand.Rand) {
	i := random.IntN(len(m.mirrors))
	switch random.IntN(12) {
	case 0:
		m.kind = []string{"docker-config", "other"}[random.IntN(2)]
	case 1:
		m.header = !m.header
	case 2:
		m.dir = fmt.Sprintf("/certs%d", random.IntN(3))
	case 3:
		m.secret++
	case 4:
		m.mirrors = slices.Delete(m.mirrors, i, i+1)
	case 5:
		m.mirrors = slices.Insert(m.mirrors, i, m.mirror(random))
	case 6:
		random.Shuffle(len(m.mirrors), func(i, j int) { m.mirrors[i], m.mirrors[j] = m.mirrors[j], m.mirrors[i] })
	default:
		for range 1 + random.IntN(3) {
			m.mirrors[random.IntN(len(m.mirrors))] = m.mirror(random)
		}
	}
}

func desiredOf(t *testing.T, m *randomMap) Desired {
	t.Helper()
	text := fmt.Sprintf("version = 1\n[containerd]\nhosts_dir = %q\n", m.dir) +
		"[registry.\"harbor.corp\"]\ncredential = \"c\"\n"
	if m.header {
		text += "header = { Authorization = { file = \"/secret\" } }\n"
	}
	text += "[registry.\"open.corp\"]\ncredential = \"anonymous\"\n[credential.c]\nkind = \"docker-config\"\npath = \"/" + m.kind + ".json\"\n" + strings.Join(m.mirrors, "")
	parsed, err := mirror.Parse("map", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Desired{Map: parsed}
}

// TestRenderingOfTheLeftOut leaves a target out because its credential has expired, and then
// takes it out of the map: the route must not go on with it.
func TestRenderingOfTheLeftOut(t *testing.T) {
	const head = "version = 1\n[registry.\"harbor.corp\"]\ncredential = \"c\"\ndeliver = \"hosts\"\n" +
		"[registry.\"two.corp\"]\ncredential = \"anonymous\"\n[credential.c]\nkind = \"docker-config\"\npath = \"/c.json\"\n" +
		"[[mirror]]\nsource = \"other.example\"\ntargets = [\"harbor.corp\"]\n"
	now := time.Now()
	var r Rendering
	for _, targets := range []string{`"harbor.corp", "two.corp", "a.example"`, `"two.corp", "a.example"`, `"harbor.corp", "two.corp", "a.example"`} {
		m, err := mirror.Parse("map", []byte(head+"[[mirror]]\nsource = \"a.example\"\ntargets = ["+targets+"]\n"))
		if err != nil {
			t.Fatal(err)
		}
		given, secrets := map[string]Delivery{}, map[string]string{}
		key, ok := m.Mirrors[0].Targets[0].Delivery()
		if !ok {
			t.Fatal("nothing is delivered")
		}
		given[key] = Delivery{Until: now.Add(-time.Hour)}
		for _, h := range m.Mirrors[0].Targets[0].Settings.Header {
			secrets[h.Source()] = "Basic x"
		}
		var d Desired
		d.Full, d.Map = Deliver(m, given, now)
		if err := r.Render(&d, hosts.Options{Secrets: secrets}); err != nil {
			t.Fatal(err)
		}
		for i, f := range d.Files {
			got, err := d.sole(i)
			want, errWant := d.soleRoute(i, f)
			if err != nil || errWant != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("targets = [%s]: the route of %s is\n%s, %v; want\n%s, %v", targets, f.Source, got.data, err, want.data, errWant)
			}
		}
	}
}
