package route

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A pull tries the credentials of a route in the order of the targets, and of each
// target's list, by the answers of all providers: TestDecideLists draws routes, and
// asks the keyring.
func TestDecideLists(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for run := range 5000 {
		var names, want []string // of all credentials, each once; "" is a pull without
		targets := make([]Target, 1+rnd.IntN(3))
		secret := false
		for i := range targets {
			list := Credentials{}
			for range rnd.IntN(4) {
				name := fmt.Sprintf("c%d", len(names))
				names = append(names, name)
				list = append(list, mirror.Credential{Name: name})
			}
			secret = secret || len(list) > 0
			for _, c := range list {
				want = append(want, c.Name)
			}
			if len(list) == 0 || rnd.IntN(3) == 0 {
				if len(list) > 0 {
					list = append(list, mirror.Credential{Name: mirror.Anonymous})
				}
				if !slices.Contains(want, "") {
					want = append(want, "")
				}
			}
			targets[i] = Target{Registry: fmt.Sprintf("r%d.example", i), Credentials: list}
		}
		if !secret {
			want = nil
		}
		r := Route{Source: mcr, HostsDir: "/certs.d", Generations: []Generation{{hosts.Hash([]byte("new")), targets}}}
		image := image(t, mcr+"/"+[]string{"x", "v2/x", "oss/kubernetes/pause"}[rnd.IntN(3)])
		offers, err := Decide(image, &r, nil, observed(mcr, "new"))
		if err != nil {
			t.Fatal(err)
		}
		// The kubelet joins what some providers answer, each its own.
		answers := make([]map[string]credential.Credential, 1+rnd.IntN(3))
		owners := make([]int, len(offers))
		for i := range owners {
			owners[i] = rnd.IntN(len(answers))
		}
		for own := range answers {
			mine := make([]*credential.Credential, len(offers))
			for i, o := range offers {
				if owners[i] != own {
					continue
				}
				mine[i] = new(credential.Credential)
				if o.Credential != nil {
					mine[i].Username = o.Credential.Name
				}
			}
			answers[own] = credential.Answer(image, mine).Auth
		}
		var got []string
		for _, c := range credential.Attempts(answers, image.Name()) {
			got = append(got, c.Username)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("seed %d, run %d: a pull of %s tries %q; want %q by the route %+v", seed, run, image, got, want, targets)
		}
	}
}

// TestRouteOfEarlierVersion holds that a plugin from before there were lists reads a
// route without a list, and that its routes are read.
func TestRouteOfEarlierVersion(t *testing.T) {
	type before struct {
		Registry   string             `json:"registry"`
		Credential *mirror.Credential `json:"credential,omitempty"`
	}
	one := mirror.Credential{Name: "harbor", Kind: mirror.DockerConfig, File: "/h.json"}
	for _, c := range []struct {
		now    Target
		before before
	}{
		{Target{Registry: "a.io", Credentials: Credentials{one}}, before{"a.io", &one}},
		{Target{Registry: "a.io"}, before{"a.io", nil}},
	} {
		data, err := Route{Generations: []Generation{{Targets: []Target{c.now}}}}.append(nil)
		if err != nil {
			t.Fatal(err)
		}
		var old struct {
			Generations []struct{ Targets []before }
		}
		if err := json.Unmarshal(data, &old); err != nil || !reflect.DeepEqual(old.Generations[0].Targets[0], c.before) {
			t.Errorf("the previous plugin reads %s as %+v, %v; want %+v", data, old, err, c.before)
		}
		text, err := json.Marshal(c.before)
		if err != nil {
			t.Fatal(err)
		}
		var now Target
		if err := json.Unmarshal(text, &now); err != nil || !reflect.DeepEqual(now, c.now) {
			t.Errorf("the previous %s is read as %+v, %v; want %+v", text, now, err, c.now)
		}
	}
}

// TestCredentialsRoundTrip holds that a list is read as it was written, and that
// nothing unknown in it is read.
func TestCredentialsRoundTrip(t *testing.T) {
	r := mcrRoute()
	team := Credentials{{Name: "pods", Kind: mirror.PodToken, Token: &mirror.Token{Audience: "a"}}, *azure, {Name: mirror.Anonymous}}
	r.Generations[0].Targets[0].Credentials = team
	r.Generations[0].Targets[0].Below = []Below{{"mcr/team", team[:2]}, {"mcr/open", nil}}
	data, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Decode(data); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("Decode = %+v, %v; want %+v", got, err, r)
	}
	for _, change := range [][2]string{{`"name":"pods"`, `"name":"pods","new":1`}, {`"credential":[`, `"credential":[[],`}} {
		var s sealed
		if err := json.Unmarshal(data, &s); err != nil {
			t.Fatal(err)
		}
		s.Route = bytes.ReplaceAll(s.Route, []byte(change[0]), []byte(change[1]))
		s.SHA256 = hosts.Hash(s.Route)
		changed, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Decode(append(changed, '\n')); err == nil {
			t.Errorf("Decode took %s for %s: %+v", change[1], change[0], got)
		}
	}
}
