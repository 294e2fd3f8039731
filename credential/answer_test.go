package credential

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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

// A keyring finds credentials for an image as the kubelet does. It is written
// after pkg/credentialprovider/keyring.go of k8s.io/kubernetes v1.36.3
// (BasicDockerKeyring.Add, Lookup and URLsMatch), which cannot be imported
// without the whole of Kubernetes.
type keyring struct {
	index  []string
	byName map[string][]Credential
}

func newKeyring(t *testing.T, auth map[string]Credential) keyring {
	t.Helper()
	k := keyring{byName: map[string][]Credential{}}
	for loc, c := range auth {
		if !strings.HasPrefix(loc, "https://") && !strings.HasPrefix(loc, "http://") {
			loc = "https://" + loc
		}
		u, err := url.Parse(loc)
		if err != nil {
			t.Fatalf("the kubelet ignores the key %q: %v", loc, err)
		}
		path := u.Path
		if strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/v2/") {
			path = path[3:]
		}
		name := u.Host
		if path != "/" {
			name += path
		}
		k.byName[name] = append(k.byName[name], c)
		k.index = append(k.index, name)
	}
	slices.Sort(k.index)
	k.index = slices.Compact(k.index)
	slices.Reverse(k.index)
	return k
}

// lookup returns the credentials for an image in the order in which they are
// tried; those of one group in no certain order.
func (k keyring) lookup(t *testing.T, image string) [][]Credential {
	t.Helper()
	var groups [][]Credential
	for _, name := range k.index {
		if refMatches(t, name, image) {
			groups = append(groups, k.byName[name])
		}
	}
	return groups
}

func refMatches(t *testing.T, key, image string) bool {
	t.Helper()
	glob, err1 := url.Parse("https://" + key)
	target, err2 := url.Parse("https://" + image)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	split := func(u *url.URL) ([]string, string) {
		host, port, err := net.SplitHostPort(u.Host)
		if err != nil {
			host, port = u.Host, ""
		}
		return strings.Split(host, "."), port
	}
	globs, globPort := split(glob)
	labels, port := split(target)
	if globPort != port || len(globs) != len(labels) || !strings.HasPrefix(target.Path, glob.Path) {
		return false
	}
	for i := range globs {
		if ok, err := filepath.Match(globs[i], labels[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

// TestAnswerInKubelet checks that the kubelet finds every credential of an
// answer, in its order, and finds none for an image of another registry.
func TestAnswerInKubelet(t *testing.T) {
	others := []string{"evil.io/library/nginx", "docker.iox/library/nginx", "x.docker.io/library/nginx", "docker.io:5000/library/nginx", "[::1]:6000/a", "h:5001/a"}
	for _, name := range []string{
		"docker.io/library/nginx", "mcr.microsoft.com/oss/kubernetes/pause",
		"h.io/a", "h.io/ab", "h.io/abc", "h.io/a/b", "h.io/a-b/c",
		"h.io/v1/x", "h.io/v2/x", "h.io/v1/a/b", "h.io/v2/v1/v2/x", "h.io/v1", "h.io/v2", "h.io/v11/x", "h.io/v/1",
		"h:5000/a", "h:5000/team/app", "localhost/x/y", "[::1]:5000/a", "[::1]:5000/v2/team/app", "[2001:DB8::1]:443/a/b",
		"HARBOR.corp/x/y", "10.0.0.1:8443/v1/y",
	} {
		image := image(t, name)
		for n := range 12 {
			var credentials []Credential
			for i := range n + 1 {
				credentials = append(credentials, Credential{Username: fmt.Sprint("u", i), Password: "p"})
			}
			checkAnswer(t, image.Name(), Answer(image, pointers(credentials)), credentials)
			keys := newKeyring(t, Answer(image, pointers(credentials)).Auth)
			for _, other := range others {
				if host, _, _ := strings.Cut(other, "/"); host == image.Host() {
					continue
				}
				if found := keys.lookup(t, other); len(found) > 0 {
					t.Errorf("the answer for %s is found for %s: %v", name, other, found)
				}
			}
		}
	}
}

func pointers(list []Credential) []*Credential {
	var out []*Credential
	for _, c := range list {
		out = append(out, &c)
	}
	return out
}

// TestAnswerOfMany has several providers answer one image, each what is its own: the
// kubelet, which joins the answers, tries the credentials in their order, whatever the
// order of the providers, and as [Attempts] says.
func TestAnswerOfMany(t *testing.T) {
	names := []string{"docker.io/library/nginx", "h.io/a", "h.io/v1/x", "h.io/v2", "h:5000/ab", "localhost/x", "UPPER/x", "10.0.0.1:8443/v1/y", "a.b.c.example/v2/z"}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		image := image(t, names[rnd.IntN(len(names))])
		list := make([]Credential, 2+rnd.IntN(8))
		for i := range list {
			list[i] = Credential{Username: fmt.Sprint("u", i), Password: "p"}
		}
		if rnd.IntN(2) == 0 {
			list[rnd.IntN(len(list))] = Credential{}
		}
		answers := make([]map[string]Credential, 1+rnd.IntN(4))
		owners := make([]int, len(list))
		for i := range owners {
			owners[i] = rnd.IntN(len(answers))
		}
		all := map[string]Credential{}
		for own := range answers {
			mine := pointers(list)
			for i := range mine {
				if owners[i] != own {
					mine[i] = nil
				}
			}
			answers[own] = Answer(image, mine).Auth
			maps.Copy(all, answers[own])
		}
		checkAnswer(t, image.Name(), Response{Auth: all}, list)
		if got := Attempts(answers, image.Name()); !slices.Equal(got, list) {
			t.Errorf("%s: Attempts = %v; want %v", image.Name(), got, list)
		}
		if t.Failed() {
			t.Fatalf("seed %d: %v by the providers %v", seed, list, owners)
		}
	}
}

// TestAnswerAround has a provider return a pod's logins, of which another does not know
// how many there are: the kubelet tries the credentials in their order, whatever the
// order of the two and the length of the repository's name.
func TestAnswerAround(t *testing.T) {
	named := func(name string, n int) []Credential {
		var list []Credential
		for i := range n {
			list = append(list, Credential{Username: fmt.Sprint(name, i), Password: "p"})
		}
		return list
	}
	for _, name := range []string{"docker.io/library/nginx", "h.io/a", "h.io/v1/x", "h:5000/ab", "h.io:5000/a", "localhost/x", "10.0.0.1:8443/v1/y", "[::1]:5000/ab", "[::1]:5000/team/app"} {
		image := image(t, name)
		for _, pods := range []int{0, 1, 2, 3, 4, 5, 12, MostInOrder - 2} {
			for before := range 3 {
				for after := range 4 {
					if isIPv6(image.Host()) && (before+after == 0 || before+after > len(image.Repository())) {
						continue // no order is known, as in [TestAnswerInKubelet]
					}
					logins, first, last := named("pod", pods), named("first", before), named("last", after)
					mine := pointers(logins)
					if pods == 0 {
						mine = []*Credential{nil}
					}
					pod := AnswerAround(image, append(make([]*Credential, before), mine...), make([]*Credential, after))
					node := AnswerAround(image, append(pointers(first), nil), pointers(last))
					if before+after == 0 {
						node = AnswerAround(image, []*Credential{nil}, nil)
					}
					want := slices.Concat(first, logins, last)
					if most := places(image, after); before+pods > most {
						want = slices.Concat(first, logins[:max(0, most-before)], last)
					}
					for _, answers := range [][]map[string]Credential{{pod.Auth, node.Auth}, {node.Auth, pod.Auth}} {
						if got := Attempts(answers, image.Name()); !slices.Equal(got, want) {
							t.Errorf("%s: %d, %d logins of the pod, %d: Attempts = %v; want %v", name, before, pods, after, got, want)
						}
					}
				}
			}
		}
	}
}

// checkAnswer checks what the kubelet finds for the image. Each credential has a
// place of its own, unless the keys with wildcards match nothing.
func checkAnswer(t *testing.T, image string, r Response, want []Credential) {
	t.Helper()
	if len(r.Auth) != len(want) {
		t.Errorf("%s: %d credentials have the keys %v", image, len(want), r.Auth)
		return
	}
	groups := newKeyring(t, r.Auth).lookup(t, image)
	rest := want
	for _, group := range groups {
		if len(group) > 1 && !strings.HasPrefix(image, "[") || len(group) > len(rest) {
			t.Errorf("%s: the kubelet tries %v for %v: a group has no order", image, groups, want)
			return
		}
		for _, c := range rest[:len(group)] {
			if !slices.Contains(group, c) {
				t.Errorf("%s: the kubelet tries %v; want %v", image, groups, want)
				return
			}
		}
		rest = rest[len(group):]
	}
	if len(rest) > 0 {
		t.Errorf("%s: the kubelet tries %v; want %v", image, groups, want)
	}
}

// TestAnswerAnonymous checks an anonymous credential: it is a turn of its own beside
// others, and nothing if it is alone.
func TestAnswerAnonymous(t *testing.T) {
	one, two := Credential{Username: "u", Password: "1"}, Credential{Username: "u", Password: "2"}
	for _, c := range []struct {
		name string
		in   []Credential
		want []Credential
	}{
		{"none", nil, nil},
		{"anonymous", []Credential{{}}, nil},
		{"anonymous twice", []Credential{{}, {}}, nil},
		{"first", []Credential{{}, one}, []Credential{{}, one}},
		{"between", []Credential{one, {}, two}, []Credential{one, {}, two}},
		{"last", []Credential{one, {}}, []Credential{one, {}}},
		{"one twice", []Credential{one, two, one}, []Credential{one, two}},
	} {
		image := image(t, "docker.io/library/nginx")
		r := Answer(image, pointers(c.in))
		if r.CacheKey != CacheByImage || r.CacheFor != 0 {
			t.Errorf("%s: the kubelet may keep the answer: %+v", c.name, r)
		}
		checkAnswer(t, image.Name(), r, c.want)
	}
}
