package fleet

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "play the whole fleet, and write the results and the documents")

// The results are kept so that the documents can be held against them, and those of a
// small fleet so that the results can be held against the code.
const (
	resultsFile = "testdata/results.json"
	smallFleet  = 500
	document    = "../../../docs/performance.md"
	picture     = "../../../docs/fleet.svg"
)

// play plays all scenarios.
func play(t *testing.T, nodes int) []*Result {
	var list []*Result
	for _, s := range Scenarios(nodes) {
		peers := []Caching{0}
		if s.Peers {
			peers = append(peers, Caching(time.Hour), Caching(5*time.Minute))
		}
		for _, keeps := range peers {
			synctest.Test(t, func(*testing.T) { list = append(list, s.Play(nodes, keeps)) })
		}
	}
	return list
}

// TestCurrent plays a small fleet, and checks that it does what it did when the
// documents were written, and that the documents show the results of then. "make fleet"
// writes all of them again.
func TestCurrent(t *testing.T) {
	if *update {
		writeAll(t)
	}
	kept := readResults(t)
	for i, got := range play(t, smallFleet) {
		if i >= len(kept.Small) || !reflect.DeepEqual(got, kept.Small[i]) {
			t.Errorf("%s, %s: a fleet of %d nodes does something else than when the documents were written; run: make fleet", got.Scenario, got.Caching, smallFleet)
		}
	}
	for path, want := range documents(t, kept.Full) {
		if got := readFile(t, path); !bytes.Equal(got, want) {
			t.Errorf("%s does not show the results in %s; run: make fleet", path, resultsFile)
		}
	}
}

// TestAim checks what the rule for the jitter promises: a map change costs one Premium
// registry no more than it serves.
func TestAim(t *testing.T) {
	for _, r := range readResults(t).Full {
		if r.Nodes != fullFleet {
			t.Errorf("%s: %d nodes; want %d", r.Scenario, r.Nodes, fullFleet)
		}
		if r.Scenario == Change && (r.Registry.Minute > Premium || r.Unready > 0) {
			t.Errorf("%s: %d requests in a minute, %d nodes without their image; want at most %d, none", r.Scenario, r.Registry.Minute, r.Unready, Premium)
		}
		if r.OneNode > metadataLimit {
			t.Errorf("%s, %s: a node asks its metadata service %d times in a second; it answers %d", r.Scenario, r.Caching, r.OneNode, metadataLimit)
		}
	}
}

func TestJitter(t *testing.T) {
	for _, c := range []struct {
		nodes, pulls, seconds int
	}{{1, 1, 30}, {100, 1, 30}, {818, 1, 65}, {1000, 1, 79}, {5000, 1, 393}, {10000, 1, 786}, {1000, 10, 658}} {
		if got := Jitter(c.nodes, c.pulls); got != time.Duration(c.seconds)*time.Second {
			t.Errorf("Jitter(%d, %d) = %s; want %d s", c.nodes, c.pulls, got, c.seconds)
		}
	}
}

type results struct{ Full, Small []*Result }

func readResults(t *testing.T) (r results) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, resultsFile), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// documents returns what the documents should be, by their path.
func documents(t *testing.T, list []*Result) map[string][]byte {
	t.Helper()
	text, err := Document(readFile(t, document), list)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{document: text, picture: Picture(list)}
}

func writeAll(t *testing.T) {
	r := results{Full: play(t, fullFleet), Small: play(t, smallFleet)}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	files := documents(t, r.Full)
	files[resultsFile] = append(data, '\n')
	for path, data := range files {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
