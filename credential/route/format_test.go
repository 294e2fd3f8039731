package route

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/quick"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestEncodeAsJSON holds the encoding by hand against package json, for every
// field and for strings of any kind.
func TestEncodeAsJSON(t *testing.T) {
	same := func(r Route) bool {
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.append(nil)
		if err != nil || string(got) != string(want) {
			t.Errorf("append = %s, %v; want %s", got, err, want)
		}
		return !t.Failed()
	}
	all := &mirror.Credential{
		Name: "n", Kind: mirror.Exec, File: "/f", Command: "/c", Args: []string{"-a", "<&>"},
		Env: []string{"A=\"\\\n\x7f"}, Timeout: 3, Username: "\u2028", Token: &mirror.Token{Audience: "\xff", Required: true, Annotations: []string{"a<"}, RequiredAnnotations: []string{""}},
		ClientID: "&", TenantID: "t", Binding: &mirror.Binding{Name: "n", APIServer: ">"},
	}
	for _, r := range []Route{
		{}, {Source: "*", Direct: all}, {Withdrawn: "its mirror is gone"}, mcrRoute(),
		{Generations: []Generation{{}, {Targets: []Target{}}, {Targets: []Target{
			{Registry: "r", Plain: true, Below: []Below{{"p", nil}, {"", Credentials{*all}}}}, {Credentials: Credentials{*all, {Name: mirror.Anonymous}}}, {Credentials: Credentials{{}}},
		}}}},
	} {
		same(r)
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 20}); err != nil {
		t.Error(err)
	}
}

func TestRouteRoundTrip(t *testing.T) {
	route := mcrRoute()
	data, err := route.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode(data); err != nil {
		t.Fatalf("Decode: %v", err)
	}
	for i := range data {
		if _, err := Decode(data[:i]); err == nil {
			t.Errorf("Decode took the first %d of %d bytes", i, len(data))
		}
		for bit := range 8 {
			flipped := bytes.Clone(data)
			flipped[i] ^= 1 << bit
			if _, err := Decode(flipped); err == nil {
				t.Errorf("Decode took a route with byte %d changed to %q", i, flipped[i])
			}
		}
	}
	for _, more := range []string{"\n", " ", "{}", "\x00"} {
		if _, err := Decode(append(bytes.Clone(data), more...)); err == nil {
			t.Errorf("Decode took a route with %q behind it", more)
		}
	}
}

func FuzzDecode(f *testing.F) {
	data, _ := mcrRoute().Encode()
	f.Add(data)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		again, err := r.Encode()
		if err != nil {
			t.Fatalf("a decoded route does not encode: %v", err)
		}
		// It need not be the same: null is not a list, and no list is left out.
		if _, err := Decode(again); err != nil {
			t.Fatalf("Decode(%q) = %+v, whose encoding it refuses: %v", data, r, err)
		}
	})
}
