package route

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

func image(t testing.TB, s string) mirror.Image {
	t.Helper()
	i, err := mirror.ParseImage(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

var azure = &mirror.Credential{Name: "azure", Kind: mirror.Azure, File: "/etc/kubernetes/azure.json"}

const mcr = "mcr.microsoft.com"

func mcrRoute() Route {
	return Route{
		Source: mcr, HostsDir: "/certs.d",
		Generations: []Generation{
			{hosts.Hash([]byte("new")), []Target{{Registry: "contoso.azurecr.io", Prefix: "mcr", Credentials: Credentials{*azure}}}},
			{hosts.Hash([]byte("old")), []Target{{Registry: "fabrikam.azurecr.io", Credentials: Credentials{*azure}}}},
		},
	}
}

// wildcardRoute is that of a mirror of "*", rendered as "any".
func wildcardRoute() Route {
	return Route{
		Source: "*", HostsDir: "/certs.d", Direct: azure,
		Generations: []Generation{{hosts.Hash([]byte("any")), []Target{{Registry: "any.azurecr.io", Credentials: Credentials{*azure}}}}},
	}
}

func observed(namespace, text string) Observed {
	return Observed{Dir: "/certs.d", Namespace: namespace, Hosts: []byte(text)}
}

// first returns the image of the first offer, or the error.
func first(offers []Offer, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case len(offers) == 0:
		return "nothing"
	}
	return offers[0].Query.Image
}

// ours is a generated hosts.toml.
func ours(t testing.TB) string {
	t.Helper()
	m, err := mirror.Parse("m", []byte("version = 1\n[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return string(files[0].Data)
}

// TestDecideNoLeak holds the first promise: no credential but for the very
// bytes that were rendered, where they were rendered for.
func TestDecideNoLeak(t *testing.T) {
	withdrawn, other, moved := mcrRoute(), mcrRoute(), mcrRoute()
	withdrawn.Withdrawn = "its mirror was removed"
	other.Source, moved.HostsDir = "quay.io", "/elsewhere"
	route, wildcard, draining := mcrRoute(), wildcardRoute(), wildcardRoute()
	draining.Withdrawn, draining.Generations = "it is being drained", nil
	for name, c := range map[string]struct {
		own, wildcard *Route
		now           Observed
		want          string // the first offer's image, or a part of the error
	}{
		"new":                             {&route, nil, observed(mcr, "new"), "contoso.azurecr.io/mcr/x"},
		"old":                             {&route, nil, observed(mcr, "old"), "fabrikam.azurecr.io/x"},
		"edited":                          {&route, nil, observed(mcr, "new "), "is not as mirrorcred wrote it"},
		"empty":                           {&route, nil, observed(mcr, ""), "does not exist or is empty"},
		"missing":                         {&route, nil, Observed{Dir: "/certs.d", Namespace: mcr}, "does not exist or is empty"},
		"no directory":                    {&route, nil, Observed{Dir: "/certs.d"}, "does not exist"},
		"shadowed":                        {&route, nil, observed("mcr.microsoft.com_443_", "new"), "containerd reads /certs.d/mcr.microsoft.com_443_"},
		"default instead":                 {&route, nil, observed("_default", "new"), "containerd reads /certs.d/_default"},
		"withdrawn":                       {&withdrawn, nil, observed(mcr, "new"), "its mirror was removed"},
		"withdrawn, and * serves":         {&withdrawn, &wildcard, observed("_default", "any"), "its mirror was removed"},
		"the route of another source":     {&other, nil, observed(mcr, "new"), "is that of the source \"quay.io\""},
		"observed in another directory":   {&moved, nil, observed(mcr, "new"), "the route is for /elsewhere"},
		"no route":                        {nil, nil, observed(mcr, "new"), "there is no route"},
		"generated, and its route lost":   {nil, &wildcard, observed(mcr, ours(t)), "is mirrorcred's, but its route is missing"},
		"only * has a route":              {nil, &wildcard, observed("_default", "any"), "any.azurecr.io/x"},
		"* until its own is in place":     {&route, &wildcard, observed("_default", "any"), "any.azurecr.io/x"},
		"* drains until then":             {&route, &draining, observed("_default", ours(t)), "it is being drained"},
		"another _default, and * drains":  {&route, &draining, observed("_default", "new"), "containerd reads /certs.d/_default instead"},
		"another _default, and * has one": {&route, &wildcard, observed("_default", "new"), "containerd reads /certs.d/_default instead"},
		"the wildcard of another source":  {nil, &route, observed("_default", "new"), "is that of the source \"mcr.microsoft.com\""},
		"another wildcard in its place":   {&route, &route, observed("_default", "new"), "containerd reads /certs.d/_default instead"},
		"its directory, and * has one":    {nil, &wildcard, observed(mcr, "any"), "nothing"},
	} {
		if got := first(Decide(image(t, "mcr.microsoft.com/x"), c.own, c.wildcard, c.now)); !strings.Contains(got, c.want) {
			t.Errorf("%s: Decide = %s; want %s", name, got, c.want)
		}
	}
}

// TestDecideDirect holds who gets the credential of ACR hosts that are in no
// map.
func TestDecideDirect(t *testing.T) {
	wildcard := Route{Source: "*", HostsDir: "/certs.d", Direct: azure}
	for _, c := range []struct {
		image string
		now   Observed
		want  string
	}{
		{"contoso.azurecr.io/x", observed("", ""), "contoso.azurecr.io/x"},
		{"contoso.azurecr.io/x", observed("contoso.azurecr.io", "x"), "sends \"contoso.azurecr.io\" elsewhere"},
		{"contoso.azurecr.io/x", observed("_default", ""), "sends \"contoso.azurecr.io\" elsewhere"},
		{"CONTOSO.azurecr.io/x", observed("", ""), "nothing"},
		{"evilazurecr.io/x", observed("", ""), "nothing"},
		{"contoso.azurecr.io.evil.example/x", observed("", ""), "nothing"},
		{"quay.io/x", observed("", ""), "nothing"},
		{"quay.io/x", observed("quay.io", "x"), "nothing"},
	} {
		if got := first(Decide(image(t, c.image), nil, &wildcard, c.now)); !strings.Contains(got, c.want) {
			t.Errorf("Decide(%s, %+v) = %s; want %s", c.image, c.now, got, c.want)
		}
	}
}

// TestDecideBelow holds the boundaries of repositories.
func TestDecideBelow(t *testing.T) {
	team := Credentials{{Name: "team"}}
	r := mcrRoute()
	r.Generations[0].Targets[0].Below = []Below{{"mcr/team", team}, {"mcr/open", nil}}
	for of, want := range map[string]string{
		"x": "azure", "team": "team", "team/x": "team", "teams/x": "azure", "open/x": "", "openly": "azure",
	} {
		offers, err := Decide(image(t, mcr+"/"+of), &r, nil, observed(mcr, "new"))
		if err != nil || len(offers) != 1 {
			t.Fatalf("%s: %v, %v", of, offers, err)
		}
		got := ""
		if c := offers[0].Credential; c != nil {
			got = c.Name
		}
		if got != want {
			t.Errorf("%s is offered %q; want %q", of, got, want)
		}
	}
}

// TestDecidePlain checks that a target reached by plain http is asked for as
// such: its default port is another.
func TestDecidePlain(t *testing.T) {
	m, err := mirror.Parse("m", []byte("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"http://h.corp:80/hub\", \"s.corp:443\"]\nshare_credential = true\n"+
		"[registry.\"h.corp:80\"]\ncredential = \"one\"\n[credential.one]\nkind = \"docker-config\"\npath = \"/one\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	g := NewGeneration(m, m.Mirrors[0], hosts.Hash([]byte("new")))
	r := Route{Source: "docker.io", HostsDir: "/certs.d", Generations: []Generation{g}}
	offers, err := Decide(image(t, "nginx"), &r, nil, observed("docker.io", "new"))
	if err != nil || len(offers) != 2 {
		t.Fatalf("Decide = %v, %v", offers, err)
	}
	for i, want := range []credential.Query{{Plain: true, Image: "h.corp/hub/library/nginx"}, {Image: "s.corp/library/nginx"}} {
		if got := offers[i].Query; got.Plain != want.Plain || got.Image != want.Image {
			t.Errorf("offer %d asks for %q, plain %v; want %q, %v", i, got.Image, got.Plain, want.Image, want.Plain)
		}
	}
}

// TestDecideRandom holds the first promise in other words than decide.go's, over
// routes and observations at random: who is offered a credential is a target of
// the bytes in force, or the ACR host of the image that is asked itself.
func TestDecideRandom(t *testing.T) {
	const runs = 200_000
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	answered, refused := 0, 0
	for i := range runs {
		c := randomCase(rnd)
		offers, err := Decide(image(t, c.host+"/app/x"), c.own, c.wildcard, c.now)
		if err != nil {
			refused++
		}
		if i := slices.IndexFunc(offers, func(o Offer) bool { return o.Credential != nil }); i < 0 {
			continue
		}
		answered++
		if why := c.leaks(offers); why != "" || err != nil {
			t.Fatalf("seed %d, run %d: Decide offers %+v, %v: %s\n%+v\nown %+v\nwildcard %+v", seed, i, offers, err, why, c, c.own, c.wildcard)
		}
	}
	if answered < runs/50 || refused < runs/50 {
		t.Errorf("seed %d: of %d random cases, %d are answered and %d are refused; the cases are not varied enough", seed, runs, answered, refused)
	}
}

type randomOne struct {
	host          string
	own, wildcard *Route
	now           Observed
}

func randomCase(rnd *rand.Rand) randomOne {
	pick := func(list ...string) string { return list[rnd.IntN(len(list))] }
	texts := []string{"a", "b", "c", ""}
	random := func(source string) *Route {
		if rnd.IntN(4) == 0 {
			return nil
		}
		r := &Route{Source: source, HostsDir: "/certs.d"}
		if rnd.IntN(10) == 0 {
			r.Source, r.HostsDir = pick(source, "other.example"), pick("/certs.d", "/elsewhere")
		}
		for range rnd.IntN(3) {
			target := Target{Registry: pick("one.example", "two.example:5000"), Credentials: Credentials{*azure}}
			if rnd.IntN(4) == 0 {
				target.Credentials = nil
			}
			r.Generations = append(r.Generations, Generation{hosts.Hash([]byte(pick(texts...))), []Target{target, {Registry: "public.example"}}})
		}
		if rnd.IntN(6) == 0 {
			r.Withdrawn = "it drains"
		}
		if source == "*" && rnd.IntN(2) == 0 {
			r.Direct = azure
		}
		return r
	}
	host := pick("quay.io", "contoso.azurecr.io", "h.example:5000")
	c := randomOne{host: host, own: random(host), wildcard: random("*")}
	c.now = Observed{Dir: "/certs.d", Namespace: pick(append(hosts.Candidates(host), "")...)}
	if c.now.Namespace != "" {
		c.now.Hosts = []byte(pick(texts...))
	}
	return c
}

// leaks returns why offers must not be made, "" if they may.
func (c randomOne) leaks(offers []Offer) string {
	var given []*Route // those that have the bytes in force
	for _, r := range []*Route{c.own, c.wildcard} {
		if r == nil || r.HostsDir != c.now.Dir {
			continue
		}
		s, err := mirror.ParseSource(r.Source)
		if err == nil && c.now.Namespace == hosts.Namespace(s) && len(c.now.Hosts) > 0 {
			given = append(given, r)
		}
	}
	if c.own != nil && c.own.Withdrawn != "" {
		return "the source is withdrawn"
	}
	for _, o := range offers {
		if o.Credential == nil {
			continue
		}
		ok := c.now.Namespace == "" && o.Query.Registry.String() == c.host && c.host == "contoso.azurecr.io" && c.wildcard != nil && c.wildcard.Direct != nil
		for _, r := range given {
			for _, g := range r.Generations {
				ok = ok || r.Withdrawn == "" && g.SHA256 == hosts.Hash(c.now.Hosts) && slices.ContainsFunc(g.Targets, func(t Target) bool {
					return t.Registry == o.Query.Registry.String() && slices.ContainsFunc(t.Credentials, func(c mirror.Credential) bool { return reflect.DeepEqual(c, *o.Credential) })
				})
			}
		}
		if !ok {
			return fmt.Sprintf("%s is not a target of what is in force", o.Query.Registry)
		}
	}
	return ""
}
