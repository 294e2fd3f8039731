//go:build linux

package audit

import "testing"

// TestCounted checks that a log of another version, or of another program,
// makes no code of its own.
func TestCounted(t *testing.T) {
	for _, test := range []struct {
		outcome Outcome
		code    Code
		want    Code
	}{
		{Answered, "", ""},
		{Answered, Partial, Partial},
		{Answered, Fetch, Other},
		{Refused, NotArmed, NotArmed},
		{Refused, "", Other},
		{Failed, "image-name-of-a-pod", Other},
		{"borrowed", "", Other},
	} {
		e := Event{Time: noon, Outcome: test.outcome, Code: test.code}
		line, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, ok := Decode(line)
		if !ok || got.Code != test.code || got.Counted() != test.want {
			t.Errorf("%s counts as %q; want %q", line, got.Counted(), test.want)
		}
	}
}
