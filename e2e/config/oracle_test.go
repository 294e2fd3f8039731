package config

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/build"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

var (
	seedFlag    = flag.Uint64("seed", 1, "the seed of the random trees; 0 takes one from the clock")
	treesFlag   = flag.Int("trees", 5000, "how many random trees")
	linesFlag   = flag.String("containerd", "1.7.35,2.0.14,2.1.9,2.2.9,2.3.7,2.4.2", "the versions of containerd")
	programFlag = flag.Int("program", 40, "how many random trees for the program itself")
	wholeFlag   = flag.Bool("whole", false, "ask loaders with every plugin of containerd, which take minutes to build")
	saveFlag    = flag.String("save", "", "a directory for trees on which a loader and containerdconfig disagree, made small")
)

// versions are those of containerd: the last of each line.
var versions []string

func TestMain(m *testing.M) {
	flag.Parse()
	versions = strings.Split(*linesFlag, ",")
	os.Exit(m.Run())
}

// startLoaders starts the loader of each line.
func startLoaders(t *testing.T) []*Loader {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("a tree is the root directory of what reads it, which takes root; run this as root")
	}
	var all []*Loader
	loader := build.Loader
	if *wholeFlag {
		loader = build.WholeLoader
	}
	for _, v := range versions {
		dir, err := loader(context.Background(), v, os.Stderr)
		if err != nil {
			t.Fatal(err)
		}
		l, err := StartLoader(v, dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.Stop)
		all = append(all, l)
	}
	return all
}

// seedOf returns the seed of a run, and has it printed.
func seedOf(t *testing.T) uint64 {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", seed)
	return seed
}

func readExamples(t *testing.T) []Example {
	t.Helper()
	examples, err := Examples("../../hosts/containerdconfig/testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(examples) < 63 {
		t.Fatalf("%d examples; want 63 or more", len(examples))
	}
	return examples
}

// A judged is a tree with the verdict of each loader.
type judged struct {
	tree    *Tree
	theirs  map[string]Verdict // by version
	ours    map[string]opinion
	anyLine bool // armed if the version is not known
}

// What a loader makes of some trees is not the same each time. Each is read some
// times, and more often if it would be a fault.
const (
	someTimes = 3
	manyTimes = 300
)

// judge writes trees below dir and has everybody read them, the loaders that
// many times.
func judge(dir string, loaders []*Loader, times int, trees ...*Tree) ([]judged, error) {
	all := make([]judged, len(trees))
	roots := make([]string, len(trees))
	for i, tree := range trees {
		roots[i] = filepath.Join(dir, fmt.Sprint(i))
		if err := tree.Write(roots[i]); err != nil {
			return nil, err
		}
		all[i] = judged{tree: tree, theirs: map[string]Verdict{}}
	}
	defer func() {
		for _, root := range roots {
			os.RemoveAll(root)
		}
	}()
	answers, errs := make([][]Verdict, len(loaders)), make([]error, len(loaders))
	var wait sync.WaitGroup
	for i, l := range loaders {
		wait.Go(func() { answers[i], errs[i] = l.AskAgain(times, roots...) })
	}
	wait.Wait()
	for i, l := range loaders {
		if errs[i] != nil {
			return nil, errs[i]
		}
		for j := range all {
			all[j].theirs[l.Version] = answers[i][j]
		}
	}
	for i, root := range roots {
		if err := inside(root, func() { all[i].ours, all[i].anyLine = opinions() }); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// opinions asks containerdconfig about the tree that is the root directory.
func opinions() (map[string]opinion, bool) {
	all := map[string]opinion{}
	for _, version := range versions {
		v, err := containerdconfig.ParseVersion(version)
		if err != nil {
			panic(err)
		}
		all[version] = opinionOf(disk{}, v)
	}
	starts, agree := false, true
	for _, v := range containerdconfig.Lines() {
		if o := opinionOf(disk{}, v); o.answer != "no start" {
			starts, agree = true, agree && o.armed
		}
	}
	return all, starts && agree
}

// fault is what is wrong with what containerdconfig returns for a version, or "".
// A version of "" is one that is not known.
func (j judged) fault(version string) string {
	if version == "" {
		if !j.anyLine {
			return ""
		}
		for _, v := range versions {
			if their := j.theirs[v]; their.Starts && their.Harms() {
				return "unsafe"
			}
		}
		return ""
	}
	our, their := j.ours[version], j.theirs[version]
	switch {
	case our.armed && their.Harms():
		return "unsafe"
	case !our.armed && their.Arms():
		return "refused"
	case our.answer != their.String() && !their.Varies && !our.anyAnswer:
		return "another reason"
	}
	return ""
}

// faulty reports whether there is a fault with any version.
func (j judged) faulty() bool {
	return j.fault("") != "" || slices.ContainsFunc(versions, func(v string) bool { return j.fault(v) != "" })
}

// The examples are what each line really makes of these files.
func TestExamples(t *testing.T) {
	loaders := startLoaders(t)
	examples := readExamples(t)
	for _, e := range examples {
		all, err := judge(t.TempDir(), loaders, 1, e.Tree)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range versions {
			their := all[0].theirs[v]
			if got, want := their.String(), e.Answer(v); got != want {
				t.Errorf("%s: containerd %s: %s; the example says %s\n%s\n%s", e.Name, v, got, want, their.Why, e.Tree)
			}
		}
	}
}

// If a credential would be answered, containerd reads exactly mirrorcred's directory;
// and if it does, hardly any is refused.
func TestTrees(t *testing.T) {
	seed := seedOf(t)
	loaders, examples := startLoaders(t), readExamples(t)
	g, dir, s := NewGenerator(seed, examples), t.TempDir(), newSum()
	for left := *treesFlag; left > 0; left -= 250 {
		trees := make([]*Tree, min(left, 250))
		for i := range trees {
			trees[i] = g.Next()
		}
		all, err := judge(dir, loaders, someTimes, trees...)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range all {
			if j.faulty() {
				again, err := judge(dir, loaders, manyTimes, j.tree)
				if err != nil {
					t.Fatal(err)
				}
				j = again[0]
			}
			s.add(j)
		}
	}
	t.Logf("\n%s", s)
	s.check(t, examples)
	for i, one := range s.faults {
		if i == 20 {
			t.Logf("and %d more", len(s.faults)-i)
			break
		}
		report(t, loaders, one)
	}
}

// report shows a tree with a fault after it was made as small as it gets.
func report(t *testing.T, loaders []*Loader, f found) {
	t.Helper()
	dir := t.TempDir()
	small := shrink(f.tree, func(tree *Tree) (judged, bool) {
		all, err := judge(dir, loaders, manyTimes, tree)
		if err != nil {
			t.Fatal(err)
		}
		return all[0], all[0].fault(f.version) == f.fault
	})
	their, our := small.theirs[f.version], small.ours[f.version]
	text := fmt.Sprintf("containerd %q: %s\nit: %s %s\nwe: %s %s\n%s", f.version, f.fault, their, their.Why, our.answer, our.reason, small.tree)
	if f.version == "" {
		text = fmt.Sprintf("version not known: %s\n%v\n%s", f.fault, small.theirs, small.tree)
	}
	t.Log(text)
	if *saveFlag == "" {
		return
	}
	name := fmt.Sprintf("%s-%s-%x.txt", strings.ReplaceAll(f.fault, " ", "-"), f.version, hash(small.tree.String()))
	if err := os.WriteFile(filepath.Join(*saveFlag, name), []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}
