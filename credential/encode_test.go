package credential

import (
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
		Env: []string{"A=\"\\\n\x7f"}, Username: "\u2028", Token: &mirror.Token{Audience: "\xff", Required: true, Annotations: []string{"a<"}, RequiredAnnotations: []string{""}},
		ClientID: "&", TenantID: "t", Binding: &mirror.Binding{Name: "n", APIServer: ">"},
	}
	for _, r := range []Route{
		{}, {Source: "*", Direct: all}, {Withdrawn: "its mirror is gone"}, mcrRoute(),
		{Generations: []Generation{{}, {Targets: []RouteTarget{}}, {Targets: []RouteTarget{
			{Registry: "r", Below: []RouteBelow{{"p", nil}, {"", all}}}, {Credential: &mirror.Credential{}},
		}}}},
	} {
		same(r)
	}
	if err := quick.Check(same, &quick.Config{MaxCount: 20}); err != nil {
		t.Error(err)
	}
}
