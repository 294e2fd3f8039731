package plan

import (
	"slices"
	"testing"
)

// TestLastingInOrder tells that of the same state the same plan is made: what a
// killed run left open comes in one order.
func TestLastingInOrder(t *testing.T) {
	o := Observed{State: State{Lasting: map[string]Moment{"quay.io": {}, "docker.io": {}, "_default": {}, "a.example": {}}}}
	want := []string{"_default", "a.example", "docker.io", "quay.io"}
	for range 20 {
		if _, got := lastingOf(&o, Moments{}, machine{}); !slices.Equal(got, want) {
			t.Fatalf("unfinished are %q; want %q", got, want)
		}
	}
}
