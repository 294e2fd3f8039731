package main

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func readDocument(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// section returns what is below a heading of a document.
func section(t *testing.T, text, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("there is no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	return rest
}

// TestPackageMap checks that docs/architecture.md names each package, none that is
// not there, and the pure ones as such.
func TestPackageMap(t *testing.T) {
	named := map[string]bool{}
	rows := regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\|.*\\| (yes)? ?\\|$").FindAllStringSubmatch(
		section(t, readDocument(t, "docs/architecture.md"), "Packages"), -1)
	for _, row := range rows {
		named[row[1]] = row[2] == "yes"
	}
	packages := goList(t, "./...")
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if strings.Contains(name, "testdata/") {
			continue
		}
		isPure, ok := named[name]
		if !ok {
			t.Errorf("docs/architecture.md does not name package %s; add a row to its table", name)
		} else if isPure != slices.Contains(pure, name) {
			t.Errorf("docs/architecture.md has pure=%t for %s, and TestLayers has %t", isPure, name, !isPure)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if _, ok := packages[name]; !ok {
			t.Errorf("docs/architecture.md names package %s, which is not there", name)
		}
	}
}

// TestPromises checks that each test in the table of promises in
// docs/architecture.md is there, and that each promise has a file of its own.
func TestPromises(t *testing.T) {
	architecture := section(t, readDocument(t, "docs/architecture.md"), "The promises and their tests")
	var promises []string
	rows := regexp.MustCompile("(?m)^\\|([^|`]*)\\| `([a-z0-9/-]+)`: ([^|]+) \\|").FindAllStringSubmatch(architecture, -1)
	if lines := strings.Count(architecture, "\n|"); len(rows) != lines-2 {
		t.Errorf("of %d rows in the table, %d are of the form | promise | `package`: TestName, … | what it does |", lines-2, len(rows))
	}
	for _, row := range rows {
		if promise := strings.TrimSpace(row[1]); promise != "" {
			promises = append(promises, promise)
			// Its own file, which TestLinks looks for.
			if !regexp.MustCompile(`^\[\w+_test\.go\]\(\.\./cmd/internal/nodetest/`).MatchString(row[3]) {
				t.Errorf("the first row of %q does not begin with the test file that is named for it", promise)
			}
		}
		names := regexp.MustCompile(`\bTest\w+`).FindAllString(row[3], -1)
		if len(names) == 0 && !strings.Contains(row[3], ".txtar)") {
			t.Errorf("a row of %s names no test: %s", row[2], row[3])
		}
		sources := testSources(t, row[2])
		for _, name := range names {
			if !strings.Contains(sources, "\nfunc "+name+"(t *testing.T)") {
				t.Errorf("docs/architecture.md names %s in %s, which is not there", name, row[2])
			}
		}
	}
	// The promises are those that the other documents make, in their words.
	for _, document := range []string{"docs/how-it-works.md", "SECURITY.md"} {
		var made []string
		for _, m := range regexp.MustCompile(`(?m)^\d\. \*\*([^.*]+)\.?\*\*`).FindAllStringSubmatch(readDocument(t, document), -1) {
			made = append(made, m[1])
		}
		if !slices.Equal(made, promises) {
			t.Errorf("%s promises %q, and docs/architecture.md has tests for %q", document, made, promises)
		}
	}
}

// TestExamples checks that each package which other programs may import shows how
// it is used.
func TestExamples(t *testing.T) {
	found := 0
	for name := range goList(t, "./...") {
		if strings.HasPrefix(name, "cmd/") || strings.Contains("/"+name, "/internal/") {
			continue
		}
		found++
		if !strings.Contains(testSources(t, name), "\nfunc Example") {
			t.Errorf("package %s has no example; add one in %s/example_test.go", name, name)
		}
	}
	if found < 10 {
		t.Errorf("found %d packages", found)
	}
}

// testSources returns the text of the tests of a package.
func testSources(t *testing.T, name string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("../..", name, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b.Write(data)
	}
	return b.String()
}

// TestPicture checks that the picture is well-formed, and that each colour in it
// has one for dark screens.
func TestPicture(t *testing.T) {
	text := readDocument(t, "docs/architecture.svg")
	decoder := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	light, dark, ok := strings.Cut(text, "@media (prefers-color-scheme: dark)")
	if !ok {
		t.Fatal("it has no colours for dark screens")
	}
	dark, _, _ = strings.Cut(dark, "</style>")
	coloured := regexp.MustCompile(`(?m)^ +(\.?\w+) \{[^}]*#[0-9a-f]{6}`)
	for _, m := range coloured.FindAllStringSubmatch(light, -1) {
		if !strings.Contains(dark, " "+m[1]+" {") {
			t.Errorf("%s has no colour for dark screens", m[1])
		}
	}
}

// TestTriedMutations holds that docs/architecture.md says how many of the planted faults
// .ci/run tries.
func TestTriedMutations(t *testing.T) {
	words := map[string]string{"4": "four", "5": "five", "6": "six", "8": "eight", "10": "ten", "12": "twelve", "16": "sixteen"}
	every := regexp.MustCompile(`make mutate MUTATE="[^"]*-every (\d+)"`).FindStringSubmatch(readDocument(t, ".ci/run"))
	if every == nil || words[every[1]] == "" {
		t.Fatalf("in .ci/run there is %q", every)
	}
	said := strings.Join(strings.Fields(section(t, readDocument(t, "docs/architecture.md"), "The promises and their tests")), " ")
	if want := "`.ci/run` tries one in " + words[every[1]] + " of them"; !strings.Contains(said, want) {
		t.Errorf("docs/architecture.md does not say %q", want)
	}
}
