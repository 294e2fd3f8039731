package grid

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/build"
)

var (
	allFlag   = flag.Bool("grid.all", false, "play the whole grid, not a sample")
	seedFlag  = flag.Uint64("grid.seed", 1, "the seed of the sample; 0 takes one from the clock")
	casesFlag = flag.Int("grid.cases", 160, "how many cases the sample has for each version, at the least")
	linesFlag = flag.String("grid.containerd", "1.7.35,2.0.14,2.1.9,2.2.9,2.4.2", "the versions of containerd")
)

// programs builds the pullers, one after the other, and returns their directories.
var programs = sync.OnceValues(func() (map[string]string, error) {
	all := map[string]string{}
	for _, v := range strings.Split(*linesFlag, ",") {
		dir, err := build.Puller(context.Background(), v, os.Stderr)
		if err != nil {
			return nil, err
		}
		all[v] = dir
	}
	return all, nil
})

// eachLine runs a test for each version at once, with a player of it and the
// clients that it has.
func eachLine(t *testing.T, test func(t *testing.T, p *player, clients []Client)) {
	t.Helper()
	dirs, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range strings.Split(*linesFlag, ",") {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			p, err := startPlayer(version, dirs[version], t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(p.stop)
			clients := []Client{{version, false}}
			if headerAtRealm(version) { // the same versions have the transfer service's registry
				clients = append(clients, Client{version, true})
			}
			test(t, p, clients)
		})
	}
}

// Each pull of the grid shows its secrets to whom the rules say, and gets the
// image from where they say.
func TestGrid(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-grid.seed %d", seed)
	eachLine(t, func(t *testing.T, p *player, clients []Client) {
		cases := Cases(clients)
		if !*allFlag {
			cases = sample(cases, seed, *casesFlag)
		}
		count := map[string]int{}
		for _, c := range cases {
			got, err := p.play(c)
			if err != nil {
				t.Fatalf("%s: %v", c, err)
			}
			if want := expect(c); got.String() != want.String() {
				t.Errorf("%s:\n%s; want\n%s", c, got, want)
			}
			for _, feature := range features(c) {
				count[feature]++
			}
		}
		for _, c := range Cases(clients) {
			for _, feature := range features(c) {
				if count[feature] == 0 {
					t.Errorf("no case with %q was played", feature)
					count[feature]++
				}
			}
		}
		t.Logf("%d cases", len(cases))
	})
}

// features are what a sample must have at least one of: each value of each
// dimension, each outcome, and each kind of mirror with each way to end.
func features(c Case) []string {
	out := expect(c)
	return []string{
		c.Client.String(), string(c.Kind), string(c.State), string(c.Login), string(c.Behind), out.String(),
		fmt.Sprint(c.Client, c.Kind, out.From),
	}
}

// sample returns n cases, and more until each feature is in it.
func sample(cases []Case, seed uint64, n int) []Case {
	r := rand.New(rand.NewPCG(seed, 0))
	r.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	seen := map[string]bool{}
	var picked []Case
	for i, c := range cases {
		isNew := func(feature string) bool { return !seen[feature] }
		if i >= n && !slices.ContainsFunc(features(c), isNew) {
			continue
		}
		for _, feature := range features(c) {
			seen[feature] = true
		}
		picked = append(picked, c)
	}
	return picked
}
