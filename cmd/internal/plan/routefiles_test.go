package plan

import (
	"slices"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/route"
)

// TestHostsDirs has routes that name trees: those that are whole count, whichever of
// them is read first, and whatever is wrong with the others.
func TestHostsDirs(t *testing.T) {
	encode := func(r route.Route) []byte {
		data, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	a := encode(route.Route{Source: "a.example", HostsDir: "/a"})
	torn := encode(route.Route{Source: "b.example", HostsDir: "/torn"})
	for name, c := range map[string]struct {
		data map[string][]byte
		want []string
	}{
		"no routes":        {nil, []string{"/last"}},
		"one tree":         {map[string][]byte{"1": a, "2": encode(route.Route{Source: "b.example", HostsDir: "/a"})}, []string{"/a"}},
		"two trees":        {map[string][]byte{"1": a, "2": encode(route.Route{Source: "b.example", HostsDir: "/b"})}, []string{"/a", "/b"}},
		"torn":             {map[string][]byte{"1": a, "2": torn[:len(torn)-1]}, []string{"/a"}},
		"torn, alone":      {map[string][]byte{"2": torn[:len(torn)-1]}, []string{"/last"}},
		"quotes in a name": {map[string][]byte{"1": a, "2": encode(route.Route{Source: "b.example", HostsDir: `/"a`})}, []string{`/"a`, "/a"}},
		"named in a text":  {map[string][]byte{"1": a, "2": encode(route.Route{Source: `"hosts_dir":"/a"`, HostsDir: "/b"})}, []string{"/a", "/b"}},
		"named in a later text": {map[string][]byte{
			"1": a, "2": encode(route.Route{Source: "b.example", HostsDir: "/b", Withdrawn: `"hosts_dir":"/a"`}),
		}, []string{"/a", "/b"}},
	} {
		if got := (RouteFiles{Data: c.data}).HostsDirs("/last"); !slices.Equal(got, c.want) {
			t.Errorf("%s: HostsDirs() = %q; want %q", name, got, c.want)
		}
	}
}
