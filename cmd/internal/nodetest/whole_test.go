package nodetest_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// The fifth promise: if mirrorcred is killed, or the power fails, between any two
// system calls, the other promises still hold, and the next run finishes the work.
// Each system call by itself, and the power, are the subject of cmd/internal/node;
// here the built program is killed.

// TestKilledWhileRetargeting kills mirrorcred again and again while it turns many mirrors. After
// each kill every source is served by its old target or by its new one, with the
// credential of that target, and one more run finishes the work.
func TestKilledWhileRetargeting(t *testing.T) {
	const mirrors, kills = 40, 12
	targets := []string{"contoso.azurecr.io", "fabrikam.azurecr.io"}
	w := newWorld(t)
	digests := map[string]bool{}
	for _, host := range targets {
		digests[w.add(host, "app", "v1", azuretest.ACROptions{})] = true
	}
	texts := [2]string{}
	for i, target := range targets {
		texts[i] = "version = 1\n"
		for m := range mirrors {
			texts[i] += fmt.Sprintf("[[mirror]]\nsource = \"registry%d.corp\"\ntargets = [%q]\n", m, target)
		}
	}
	w.apply(texts[0])
	began := time.Now()
	w.apply(texts[1])
	whole := time.Since(began)
	way := slices.Sorted(maps.Keys(ways))[0]
	seed := rand.Uint64()
	t.Logf("seed %d, a whole run takes %s", seed, whole)
	random := rand.New(rand.NewPCG(seed, 0))
	cut := 0
	for i := range kills {
		w.write("/etc/mirrorcred/mirrors.toml", texts[i%2])
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(whole))))
		if _, err := w.node.Apply(ctx); err != nil {
			cut++
		}
		cancel()
		for range 2 {
			image := fmt.Sprintf("registry%d.corp/app:v1", random.IntN(mirrors))
			if got, _ := w.pull(way, image, w.ask(image).Credentials); !digests[got.Digest] {
				t.Errorf("after kill %d, %s: %s", i, image, got.Fault)
			}
		}
	}
	if cut == 0 {
		t.Error("no run was killed")
	}
	if got, want := w.apply(texts[0]), fmt.Sprintf("in sync: %d sources\n", mirrors); got[max(0, len(got)-len(want)):] != want {
		t.Errorf("in the end apply prints %q; want %q last", got, want)
	}
	for m := range mirrors {
		if answer := w.ask(fmt.Sprintf("registry%d.corp/app", m)); len(answer.Credentials) != 1 || audience(answer.Credentials[0].Password) != targets[0] {
			t.Errorf("in the end registry%d.corp is answered %d credentials, %s", m, len(answer.Credentials), answer.Run.Stderr)
		}
	}
}
