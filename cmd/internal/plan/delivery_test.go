package plan

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// TestNextEnd follows random credentials by the ends that the plans name: each that ends is
// noticed in its own moment, and each plan names a later end than the one before.
func TestNextEnd(t *testing.T) {
	for range 200 {
		start := time.Unix(rand.Int64N(1<<31), 0)
		given, ends := map[string]Delivery{}, map[time.Time]bool{}
		for i := range rand.IntN(12) {
			one := Delivery{Until: start.Add(time.Duration(rand.IntN(20)-5) * time.Minute), Missing: rand.IntN(5) == 0}
			if rand.IntN(5) == 0 {
				one.Until = time.Time{}
			}
			if !one.Missing && one.Until.After(start) {
				ends[one.Until] = true
			}
			given[strconv.Itoa(i)] = one
		}
		noticed := 0
		for now := start; ; noticed++ {
			next := nextEnd(&Desired{Wall: now}, given)
			if next.IsZero() {
				break
			}
			for _, one := range given {
				if !one.Missing && one.ended(next) && !one.ended(now) && !one.Until.Equal(next) {
					t.Fatalf("at %v the next end is %v; want %v", now, next, one.Until)
				}
			}
			if !ends[next] || !next.After(now) {
				t.Fatalf("at %v the next end is %v", now, next)
			}
			now = next
		}
		if noticed != len(ends) {
			t.Fatalf("%d ends are noticed; want %d", noticed, len(ends))
		}
	}
}
