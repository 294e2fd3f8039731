package credential

import (
	"bytes"
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

var azure = &mirror.Credential{Name: "azure", Kind: mirror.Azure, File: "/etc/kubernetes/azure.json"}

func mcrRoute() Route {
	return Route{
		Source: "mcr.microsoft.com", HostsDir: "/certs.d",
		Generations: []Generation{
			{hashOf([]byte("new")), []RouteTarget{{Registry: "contoso.azurecr.io", Prefix: "mcr", Credential: azure}}},
			{hashOf([]byte("old")), []RouteTarget{{Registry: "fabrikam.azurecr.io", Credential: azure}}},
		},
	}
}

// TestOffersNoLeak holds the first promise: no credential but for the very
// bytes that were rendered.
func TestOffersNoLeak(t *testing.T) {
	const own = "mcr.microsoft.com"
	for name, c := range map[string]struct {
		now  InForce
		want string // the first offer's image, or the error
	}{
		"new":             {InForce{own, []byte("new")}, "contoso.azurecr.io/mcr/x"},
		"old":             {InForce{own, []byte("old")}, "fabrikam.azurecr.io/x"},
		"edited":          {InForce{own, []byte("new ")}, "is not as mirrorcred wrote it"},
		"empty":           {InForce{own, []byte{}}, "is missing or empty"},
		"missing":         {InForce{own, nil}, "is missing or empty"},
		"no directory":    {InForce{"", nil}, "is not there"},
		"shadowed":        {InForce{"mcr.microsoft.com_443_", []byte("new")}, "containerd reads /certs.d/mcr.microsoft.com_443_"},
		"default instead": {InForce{"_default", []byte("new")}, "containerd reads /certs.d/_default"},
	} {
		got := ""
		offers, err := mcrRoute().Offers(image(t, "mcr.microsoft.com/x"), own, c.now)
		if err != nil {
			got = err.Error()
		} else if len(offers) == 1 {
			got = offers[0].Ask.Image
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: %s; want %s", name, got, c.want)
		}
	}
}

func TestOffersDirect(t *testing.T) {
	route := Route{Source: "*", HostsDir: "/certs.d", Direct: azure}
	for _, c := range []struct {
		image string
		now   InForce
		want  string
	}{
		{"contoso.azurecr.io/x", InForce{}, "contoso.azurecr.io"},
		{"contoso.azurecr.io/x", InForce{Namespace: "contoso.azurecr.io", Hosts: []byte("x")}, "sends \"contoso.azurecr.io\" elsewhere"},
		{"contoso.azurecr.io/x", InForce{Namespace: "_default"}, "sends \"contoso.azurecr.io\" elsewhere"},
		{"CONTOSO.azurecr.io/x", InForce{}, ""},
		{"evilazurecr.io/x", InForce{}, ""},
		{"contoso.azurecr.io.evil.example/x", InForce{}, ""},
		{"quay.io/x", InForce{}, ""},
		{"quay.io/x", InForce{Namespace: "quay.io", Hosts: []byte("x")}, ""},
	} {
		got := ""
		offers, err := route.Offers(image(t, c.image), "_default", c.now)
		if err != nil {
			got = err.Error()
		} else if len(offers) == 1 {
			got = offers[0].Ask.Registry.String()
		}
		if got != c.want && (c.want == "" || !strings.Contains(got, c.want)) {
			t.Errorf("Offers(%s, %+v) = %q; want %q", c.image, c.now, got, c.want)
		}
	}
}

func TestRouteRoundTrip(t *testing.T) {
	route := mcrRoute()
	data, err := route.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeRoute(data); err != nil {
		t.Fatalf("DecodeRoute: %v", err)
	}
	for i := range data {
		if _, err := DecodeRoute(data[:i]); err == nil {
			t.Errorf("DecodeRoute took the first %d of %d bytes", i, len(data))
		}
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			if _, err := DecodeRoute(flipped); err == nil {
				t.Errorf("DecodeRoute took a route with byte %d changed to %q", i, flipped[i])
			}
		}
	}
	for _, more := range []string{"\n", " ", "{}", "\x00"} {
		if _, err := DecodeRoute(append(bytes.Clone(data), more...)); err == nil {
			t.Errorf("DecodeRoute took a route with %q behind it", more)
		}
	}
}

func FuzzDecodeRoute(f *testing.F) {
	data, _ := mcrRoute().Encode()
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := DecodeRoute(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("a decoded route does not encode: %v", err)
		}
		// It need not be the same: null is no list, and no list is left out.
		if _, err := DecodeRoute(again); err != nil {
			t.Fatalf("DecodeRoute(%q) = %+v, whose encoding it refuses: %v", data, r, err)
		}
	})
}

func TestWithdrawn(t *testing.T) {
	route := mcrRoute()
	route.Withdrawn = "its mirror was removed"
	if offers, err := route.Offers(image(t, "mcr.microsoft.com/x"), "mcr.microsoft.com", InForce{"mcr.microsoft.com", []byte("new")}); err == nil {
		t.Errorf("a withdrawn route offers %v", offers)
	}
}
