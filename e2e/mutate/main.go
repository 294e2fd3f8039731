// Command mutate breaks mirrorcred on purpose, one thing at a time, and checks
// that a test notices: by an assertion of its own, not by a crash and not by its
// time running out.
//
// mutations.txt says what is broken, which promise that breaks, and which test
// has to fail. A mutation is laid over the tree for the Go command alone
// (-overlay), so that no file is changed and several run at once.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

//go:embed mutations.txt
var list string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "mutate: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	only := flag.String("run", "", "the mutations whose names or files match")
	root := flag.String("root", "..", "the directory of mirrorcred's module")
	at := flag.Int("p", 2, "how many mutations at once")
	show := flag.Bool("v", false, "print what the tests of survivors print")
	sound := flag.Bool("sound", true, "first run each test without a mutation")
	every := flag.Int("every", 1, "try one of so many mutations, other ones for each commit")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	all, err := parse(list)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(m mutation) bool { return !pattern.MatchString(m.name) && !pattern.MatchString(m.file) })
	r := runner{root: *root}
	if r.root, err = filepath.Abs(*root); err != nil {
		return err
	}
	if r.scratch, err = os.MkdirTemp("", "mutate-*"); err != nil {
		return err
	}
	defer os.RemoveAll(r.scratch)
	start := time.Now()
	var errs []error
	for _, m := range all {
		_, err = m.source(r.root)
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if *every > 1 {
		all = r.share(ctx, all, *every)
	}
	if *sound {
		if err := r.sound(ctx, all); err != nil {
			return err
		}
	}
	failed := 0
	each(all, *at, func(i int) (string, bool) {
		o := r.try(ctx, i, all[i])
		text := fmt.Sprintf("%-14s %4.0fs  %s (%s)", o.word, o.took.Seconds(), all[i].name, all[i].breaks)
		if o.word != killed && (*show || o.word != survived) {
			text += "\n" + o.output
		}
		return text, o.word == killed
	}, &failed)
	fmt.Printf("%d of %d mutations killed in %.0fs\n", len(all)-failed, len(all), time.Since(start).Seconds())
	if failed > 0 {
		return fmt.Errorf("%d mutations were not killed", failed)
	}
	return nil
}

// share returns each n-th mutation. Which is the first follows from the commit, so that
// over the commits each has its turn, and one commit always has the same ones. Without
// git, such as in an unpacked archive, it is always the same share.
func (r runner) share(ctx context.Context, all []mutation, n int) []mutation {
	c := exec.CommandContext(ctx, "git", "rev-parse", "HEAD")
	c.Dir = r.root
	commit, err := c.Output()
	if err != nil {
		fmt.Fprintf(os.Stderr, "mutate: git does not say which commit this is, so the share is that of none: %v\n", err)
	}
	sum := fnv.New32a()
	sum.Write(commit)
	first := int(sum.Sum32() % uint32(n))
	var list []mutation
	for i := first; i < len(all); i += n {
		list = append(list, all[i])
	}
	return list
}

// each calls do for every mutation, some at once, and prints what it says.
func each(all []mutation, at int, do func(i int) (string, bool), failed *int) {
	var mu sync.Mutex
	var wait sync.WaitGroup
	next := make(chan int)
	for range max(1, at) {
		wait.Go(func() {
			for i := range next {
				text, ok := do(i)
				mu.Lock()
				fmt.Println(text)
				if !ok {
					*failed++
				}
				mu.Unlock()
			}
		})
	}
	for i := range all {
		next <- i
	}
	close(next)
	wait.Wait()
}

// A runner tries mutations on the module at root.
type runner struct{ root, scratch string }

// What may come of a mutation.
const (
	killed   = "killed"
	survived = "SURVIVED"
	broken   = "DOES NOT BUILD" // so it proves nothing
	crashed  = "CRASHED"        // or ran out of time: no assertion of the test's
)

type outcome struct {
	word   string
	output string
	took   time.Duration
}

// sound runs each test as it is: one that fails anyway kills nothing.
func (r runner) sound(ctx context.Context, all []mutation) error {
	packages := map[string][]mutation{}
	for _, m := range all {
		packages[m.pkg] = append(packages[m.pkg], m)
	}
	var errs []error
	for pkg, list := range packages {
		bin := filepath.Join(r.scratch, "sound.test")
		if out, err := r.compile(ctx, "", pkg, bin); err != nil {
			errs = append(errs, fmt.Errorf("%s does not build:\n%s", pkg, out))
			continue
		}
		for _, pattern := range patterns(list) {
			out, err := r.test(ctx, "", pkg, bin, pattern)
			for _, m := range list {
				if err == nil && !passed(m.test, out) && slices.Contains(patterns([]mutation{m}), pattern) {
					errs = append(errs, fmt.Errorf("%s has no test %s, or it was skipped", pkg, m.test))
				}
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %s fails without a mutation:\n%s", pkg, pattern, out))
			}
		}
	}
	return errors.Join(errs...)
}

// patterns returns what has go test run the tests of a list, each once.
func patterns(list []mutation) []string {
	var all []string
	for _, m := range list {
		if p := pattern(m.test); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

// passed reports whether a test is among those that passed.
func passed(test, out string) bool {
	return regexp.MustCompile(`(?m)^\s*--- PASS: `+regexp.QuoteMeta(test)+` `).MatchString(out) ||
		// One that runs itself again, elsewhere, shows none of its own subtests.
		strings.Contains(out, "--- PASS: "+strings.Split(test, "/")[0]+" ")
}

// source returns the file that is broken. The text to replace is in it once.
func (m mutation) source(root string) (string, error) {
	data, err := os.ReadFile(filepath.Join(root, m.file))
	if err != nil {
		return "", fmt.Errorf("mutation %q: %w", m.name, err)
	}
	if n := strings.Count(string(data), m.old); n != 1 {
		return "", fmt.Errorf("mutation %q: the text to replace is %d times in %s", m.name, n, m.file)
	}
	return string(data), nil
}

// try breaks one thing and runs its test.
func (r runner) try(ctx context.Context, number int, m mutation) (o outcome) {
	start := time.Now()
	defer func() { o.took = time.Since(start) }()
	path := filepath.Join(r.root, m.file)
	data, err := m.source(r.root)
	if err != nil {
		return outcome{word: broken, output: err.Error()}
	}
	dir := filepath.Join(r.scratch, fmt.Sprint(number))
	mutated, overlay := filepath.Join(dir, filepath.Base(path)), filepath.Join(dir, "overlay.json")
	replace, _ := json.Marshal(map[string]any{"Replace": map[string]string{path: mutated}})
	if err := errors.Join(os.MkdirAll(dir, 0o755),
		os.WriteFile(mutated, []byte(strings.Replace(data, m.old, m.new, 1)), 0o644),
		os.WriteFile(overlay, replace, 0o644)); err != nil {
		return outcome{word: broken, output: err.Error()}
	}
	if dir := "./" + filepath.Dir(m.file); dir != m.pkg {
		// It may be in a program that the test builds, and a program that does not build
		// fails the test as well.
		build := exec.CommandContext(ctx, "go", "build", "-o", os.DevNull, "-overlay", overlay, dir)
		build.Dir = r.root
		if out, err := build.CombinedOutput(); err != nil {
			return outcome{word: broken, output: string(out)}
		}
	}
	bin := filepath.Join(dir, "mutated.test")
	if out, err := r.compile(ctx, overlay, m.pkg, bin); err != nil {
		return outcome{word: broken, output: out}
	}
	defer os.Remove(bin)
	out, err := r.test(ctx, overlay, m.pkg, bin, pattern(m.test))
	switch {
	case err == nil:
		return outcome{word: survived, output: out}
	case crash.MatchString(out) || !failure(m.test).MatchString(out):
		return outcome{word: crashed, output: out}
	}
	return outcome{word: killed}
}

// crash is what Go prints when a test does not get to judge, or a program that it
// runs.
var crash = regexp.MustCompile(`(?m)^\s*(panic: |fatal error: |signal: |SIGSEGV)`)

// failure matches what Go prints of a test that fails.
func failure(test string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^\s*--- FAIL: ` + regexp.QuoteMeta(test) + `\b`)
}

// pattern has go test run one test, or one subtest.
func pattern(test string) string {
	parts := strings.Split(test, "/")
	for i, p := range parts {
		parts[i] = "^" + regexp.QuoteMeta(p) + "$"
	}
	return strings.Join(parts, "/")
}

// compile makes the binary of a package's tests.
func (r runner) compile(ctx context.Context, overlay, pkg, bin string) (string, error) {
	c := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", bin, pkg)
	c.Dir, c.Env = r.root, environ(overlay)
	out, err := c.CombinedOutput()
	return string(out), err
}

// test runs tests of a package. The overlay is in the environment, so that
// programs that a test builds are broken as well.
func (r runner) test(ctx context.Context, overlay, pkg, bin, pattern string) (string, error) {
	c := exec.CommandContext(ctx, bin, "-test.v", "-test.timeout=5m", "-test.run="+pattern)
	c.Dir, c.Env = filepath.Join(r.root, pkg), environ(overlay)
	out, err := c.CombinedOutput()
	return string(out), err
}

func environ(overlay string) []string {
	flags := "GOFLAGS=-buildvcs=false"
	if overlay != "" {
		flags += " -overlay=" + overlay
	}
	return append(os.Environ(), flags)
}
