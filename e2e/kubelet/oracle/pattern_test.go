package oracle

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/kubernetes/pkg/credentialprovider"
)

var pairs = flag.Int("pairs", 20_000, "how many patterns to match with an image each")

// patternsFile is read by the tests of package mirror, which then need no
// kubelet.
const patternsFile = "../../../mirror/testdata/kubelet-patterns.txt"

// TestPatterns asks the kubelet's own matcher. The first pairs of the first
// seed are kept in a file for the tests of package mirror; UPDATE=1 writes it.
// All of them are then put to the type mirror.Pattern.
func TestPatterns(t *testing.T) {
	const kept = 1_500
	text, _ := matched(rand.New(rand.NewPCG(1, 0)), kept)
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(patternsFile, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if have, err := os.ReadFile(patternsFile); err != nil || string(have) != text {
		t.Errorf("%s is not what this kubelet's matcher says (%v); write it anew with UPDATE=1", patternsFile, err)
	}

	file := filepath.Join(t.TempDir(), "patterns.txt")
	text, tally := matched(rand.New(rand.NewPCG(*first, 1)), *pairs)
	t.Logf("seed %d: %v", *first, tally)
	for _, answer := range []string{"yes", "no", "refused"} {
		if tally[answer] < *pairs/50 {
			t.Errorf("%d of %d pairs are %q: too few to prove anything", tally[answer], *pairs, answer)
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-run", "^TestKubeletPatterns$", "./mirror", "-args", "-kubelet-patterns", file)
	c.Dir = "../../.."
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v: %v\n%s", c, err, out)
	}
}

// matched returns n lines with a pattern, an image, and what the kubelet says:
// "yes", "no", or "refused" if it does not start with the pattern.
func matched(r *rand.Rand, n int) (text string, tally map[string]int) {
	var lines strings.Builder
	tally = make(map[string]int)
	for range n {
		image := aName(r, false)
		pattern := aPattern(r, image)
		answer := "no"
		if _, err := credentialprovider.ParseSchemelessURL(pattern); err != nil {
			answer = "refused"
		} else if ok, err := credentialprovider.URLsMatchStr(pattern, image); err == nil && ok {
			answer = "yes"
		}
		tally[answer]++
		fmt.Fprintf(&lines, "%q %q %s\n", pattern, image, answer)
	}
	return lines.String(), tally
}

// aPattern returns an image's name with a few things changed in it, or a name
// of its own.
func aPattern(r *rand.Rand, image string) string {
	if chance(r, 15) {
		return aName(r, true)
	}
	p := image
	for range r.IntN(3) {
		at := r.IntN(len(p) + 1)
		switch r.IntN(7) {
		case 0: // the path is a prefix
			p = p[:at]
		case 1: // a label is any
			from := strings.LastIndexByte(p[:at], '.') + 1
			to := at + strings.IndexByte(p[at:]+".", '.')
			if chance(r, 50) {
				from = at
			}
			p = p[:from] + "*" + p[to:]
		case 2:
			p = p[:at] + pick(r, []string{"*", "?", "[a-z]", "[", "]", `\`, "%41", "%zz", "%2f", ":", ":5000", "..", ".", "/", "@", "#", " ", "\x7f", "ü", "-", "_", "A"}) + p[at:]
		case 3:
			p = strings.Replace(p, ":5000", pick(r, []string{"", ":443", ":*", ":"}), 1)
		case 4:
			p = strings.ToUpper(p[:at]) + p[at:]
		case 5:
			p += pick(r, []string{"/", "/x", "?q", "#f"})
		case 6:
			p = pick(r, []string{"https://", "*.", "user@", "[::1]"}) + p
		}
	}
	if p == "" { // the map's error for this one is "a host is missing"
		return "*"
	}
	return p
}

// aName returns the name of an image, or such a one with wildcards.
func aName(r *rand.Rand, wild bool) string {
	labels := []string{"a", "b", "io", "azurecr", "registry-1", "k8s", "a_b", "0", "xn--a"}
	if wild {
		labels = append(labels, "*", "a*", "*b", "?", "[a-c]", "[^a]", "[", "")
	}
	var host []string
	for range 1 + r.IntN(3) {
		host = append(host, pick(r, labels))
	}
	name := strings.Join(host, ".")
	switch r.IntN(10) {
	case 0:
		name = "[2001:db8::1]:5000"
	case 1:
		name = "[2001:db8::1]"
	case 2, 3, 4:
		name += ":5000"
	}
	for range r.IntN(4) {
		name += "/" + pick(r, []string{"team", "teamx", "a", "a-b", "a__b", "x.y", "v2"})
	}
	return name
}
