package plugin

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestArrange checks that the kubelet tries all credentials of a list in its order,
// whichever of mirrorcred's providers answers each, and however many logins the pod
// has. No provider knows what another answers. The kubelet tries keys in the reverse of
// their alphabetical order (Kubernetes v1.36.3, pkg/credentialprovider/keyring.go).
func TestArrange(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	registry, err := mirror.ParseHost("harbor.corp")
	if err != nil {
		t.Fatal(err)
	}
	for range 5000 {
		image, err := mirror.ParseImage("quay.io/" + strings.Repeat("ab/", 3+rnd.IntN(5)) + "x")
		if err != nil {
			t.Fatal(err)
		}
		providers := []string{""}
		var offers []route.Offer
		several := rnd.IntN(5)
		for i := range 1 + rnd.IntN(5) {
			c := &mirror.Credential{Name: fmt.Sprint("c", i), Kind: mirror.DockerConfig}
			if i == several {
				c.Kind = mirror.PullSecret
			}
			if i == several || rnd.IntN(3) == 0 {
				c.Token = &mirror.Token{Audience: "a"}
				providers = append(providers, c.Name)
			}
			offers = append(offers, route.Offer{Query: credential.Query{Registry: registry}, Credential: c})
		}
		logins := rnd.IntN(5)
		var want []string
		for i := range offers {
			for j := range count(i == several, logins) {
				want = append(want, fmt.Sprintf("%d-%d", i, j))
			}
		}
		keys := map[string]string{}
		for _, name := range providers {
			n := &node{request: &credential.Request{Image: image.Name()}}
			n.provider.credential = name
			got := make([][]credential.Credential, len(offers))
			for i, o := range offers {
				for j := range count(i == several, logins) {
					if n.answers(o) {
						got[i] = append(got[i], credential.Credential{Username: fmt.Sprintf("%d-%d", i, j), Password: "p"})
					}
				}
			}
			c := n.arrange(offers, got)
			for key, one := range c.answer(image).Auth {
				if keys[key] != "" {
					t.Fatalf("seed %d: %s and %s have one key, %s", seed, keys[key], one.Username, key)
				}
				keys[key] = one.Username
			}
		}
		var order, tried []string
		for key := range keys {
			order = append(order, key)
		}
		slices.Sort(order)
		for _, key := range slices.Backward(order) {
			tried = append(tried, keys[key])
		}
		if !slices.Equal(tried, want) {
			t.Fatalf("seed %d: %s with %d logins at %d of %d: tried %q; want %q\n%q", seed, image.Name(), logins, several, len(offers), tried, want, order)
		}
	}
}

// TestSharedListAtIPv6 has two providers answer a list that is longer than the repository's
// name, at an address that no wildcard matches: none of it is left out. Its places are known
// to both, as no pod has several logins.
func TestSharedListAtIPv6(t *testing.T) {
	registry, err := mirror.ParseHost("harbor.corp")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"[2001:db8::1]:5000/a", "[2001:db8::1]:5000/v2/x", "[2001:db8::1]/ab"} {
		image, err := mirror.ParseImage(name)
		if err != nil {
			t.Fatal(err)
		}
		var offers []route.Offer
		for i := range 7 {
			c := &mirror.Credential{Name: fmt.Sprint("c", i), Kind: mirror.DockerConfig}
			if i%3 == 1 {
				c.Token = &mirror.Token{Audience: "a"}
			}
			offers = append(offers, route.Offer{Query: credential.Query{Registry: registry}, Credential: c})
		}
		keys := map[string]bool{}
		for _, provider := range []string{"", "c1", "c4"} {
			n := &node{request: &credential.Request{Image: image.Name()}}
			n.provider.credential = provider
			got := make([][]credential.Credential, len(offers))
			for i, o := range offers {
				if n.answers(o) {
					got[i] = []credential.Credential{{Username: o.Credential.Name, Password: "p"}}
				}
			}
			for key := range n.arrange(offers, got).answer(image).Auth {
				if keys[key] {
					t.Errorf("%s: the key %s is there twice", name, key)
				}
				keys[key] = true
			}
		}
		if len(keys) != len(offers) {
			t.Errorf("%s: there are the keys %q; want %d", name, slices.Sorted(maps.Keys(keys)), len(offers))
		}
	}
}

func count(isSeveral bool, logins int) int {
	if isSeveral {
		return logins
	}
	return 1
}
