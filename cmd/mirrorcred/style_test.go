package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEditorConfig holds the files of the source to .editorconfig, where that says
// how lines end.
func TestEditorConfig(t *testing.T) {
	found := 0
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			if slices.Contains([]string{".git", "testdata", "bin"}, e.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".md", ".yml", ".yaml", ".toml", ".svg", ".service", ".conf", ".sh", ".txt", ".mod"}, filepath.Ext(path)) {
			return nil
		}
		found++
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(data) > 0 && data[len(data)-1] != '\n' {
			t.Errorf("%s: its last line has no end", path)
		}
		for i, line := range bytes.Split(data, []byte("\n")) {
			// Go's raw strings may hold a text that ends in spaces.
			if bytes.HasSuffix(line, []byte("\r")) || filepath.Ext(path) != ".go" && len(bytes.TrimRight(line, " \t")) < len(line) {
				t.Errorf("%s:%d ends in white space: %q", path, i+1, line)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if found < 200 {
		t.Errorf("found %d files", found)
	}
}

// TestChangelog holds the form of keepachangelog.com: versions, newest first, with
// sections of known names, each a list.
func TestChangelog(t *testing.T) {
	version := regexp.MustCompile(`^## \[(Unreleased|\d+\.\d+\.\d+)\]( - \d{4}-\d\d-\d\d)?$`)
	sections := []string{"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
	_, text, _ := strings.Cut(readDocument(t, "CHANGELOG.md"), "\n## ")
	link := regexp.MustCompile(`^\[(Unreleased|\d+\.\d+\.\d+)\]: https://github\.com/mirrorcred/mirrorcred/`)
	isText := regexp.MustCompile(`^[A-Z]`) // of a version, before its first section
	before := ""
	for i, line := range strings.Split("## "+strings.TrimSuffix(text, "\n"), "\n") {
		heading, isSection := strings.CutPrefix(line, "### ")
		isItem, goesOn := strings.HasPrefix(line, "- "), strings.HasPrefix(line, "  ")
		if v := version.FindStringSubmatch(line); v != nil && !strings.Contains(text, "\n["+v[1]+"]: https://") {
			t.Errorf("%s has no link to its changes at the end", v[1])
		}
		switch {
		case version.MatchString(line), isSection && slices.Contains(sections, heading):
		case line == "" && before != "", link.MatchString(line), isText.MatchString(line):
		case isItem && (before != "" || i > 2), goesOn && (strings.HasPrefix(before, "- ") || strings.HasPrefix(before, "  ")):
		default:
			t.Errorf("after %q there is %q", before, line)
		}
		if isItem && before == "" && !isFirst(text, line) {
			t.Errorf("there is an empty line before %q", line)
		}
		before = line
	}
}

// isFirst reports whether an item of a list is right below a heading.
func isFirst(text, item string) bool {
	above, _, _ := strings.Cut(text, "\n"+item)
	lines := strings.Split(strings.TrimRight(above, "\n"), "\n")
	return strings.HasPrefix(lines[len(lines)-1], "### ")
}

// stilted are words that people do not say to a colleague, and what to write
// instead.
var stilted = map[string]string{
	`\bshall\b`:                       "must, should, or the plain present",
	`\b(somebody|nobody)\b`:           "another program, no program, or its name",
	`\b(is|are) none\b`:               "is not",
	`\b(is|are|was|were) no [a-z]+\b`: "is not a",
	`\bmend(s|ed)?\b`:                 "repair",
	`\bastray\b`:                      "misconfigured",
	`\bin the way\b`:                  "conflicting",
	`\b(files?|entr(y|ies)|plugins?|programs?|units?) of ours\b`:     "mirrorcred's",
	`\b(files?|entr(y|ies)|plugins?|programs?|provider) of others\b`: "another program's",
	`\bin step\b`:                             "in sync",
	`\b(is|are|has|have) to be\b`:             "must be",
	`\bat hand\b`:                             "ready",
	`\bwithout a word\b`:                      "silently",
	`\b(says?|said) of\b`:                     "reports for, says about",
	`\bof before\b`:                           "previous",
	`\ball the same\b`:                        "anyway",
	`\b(can|cannot|could|to) (not )?be had\b`: "be read, be fetched",
	`\bno time ends\b`:                        "until it restarts",
	`\bout of force\b`:                        "ignore",
	`\bon (its|their) way\b`:                  "in progress",
	`\bthe way out\b`:                         "the remedy",
	`\bspeaks? of\b`:                          "names",
	`\bwhoever wrote it\b`:                    "of any program",
	`\bstands? (in hosts\.toml|behind)\b`:     "is in, follows",
	`(\bonly|\bnil|\bnone|"") where\b`:        "if",
	`(?-i:(^|\. )Where (it|there|the map|the kubelet|containerd|no|that|this)) (\w+ )?(is|has|does|runs|names|cannot|can)\b`: "if",
	`\b(credential|certificate|password|login|token)s? (ends|ended|has ended|have ended)\b`:                                  "expires, expired",
}

// TestPlainEnglish holds the documents, and what the code says in comments and
// strings, to the words that people use.
func TestPlainEnglish(t *testing.T) {
	words := map[*regexp.Regexp]string{}
	for word, instead := range stilted {
		words[regexp.MustCompile("(?i)"+word)] = instead
	}
	check := func(place, text string) {
		for word, instead := range words {
			for _, at := range word.FindAllStringIndex(text, -1) {
				if found := text[at[0]:at[1]]; !isUsual(text[:at[0]], found) {
					t.Errorf("%s says %q; say it plainly: %s", place, found, instead)
				}
			}
		}
	}
	for file, text := range documents(t) {
		check(file, text)
	}
	for file, text := range otherProse(t) {
		check(file, text)
	}
	files := token.NewFileSet()
	seen := 0
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && slices.Contains([]string{".git", "testdata", "bin"}, e.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || e.Name() == "style_test.go":
			return nil
		}
		seen++
		source, err := parser.ParseFile(files, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		for _, c := range source.Comments {
			check(files.Position(c.Pos()).String(), strings.Join(strings.Fields(c.Text()), " "))
		}
		ast.Inspect(source, func(n ast.Node) bool {
			if s, ok := n.(*ast.BasicLit); ok && s.Kind == token.STRING {
				check(files.Position(s.Pos()).String(), s.Value)
			}
			return true
		})
		return nil
	})
	if err != nil || seen < 200 {
		t.Errorf("read %d files of Go: %v", seen, err)
	}
}

// otherProse returns what people read in files that are neither documents nor Go: units,
// the chart, alerts, dashboards, the comments of scripts, and the list of planted faults
// without their code.
func otherProse(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for pattern, lines := range map[string]*regexp.Regexp{
		"../../systemd/mirrorcred*":                   nil,
		"../../deploy/chart/*.yaml":                   nil,
		"../../deploy/chart/templates/*":              nil,
		"../../deploy/kustomize/base/*":               nil,
		"../../deploy/alerts/*.yaml":                  nil,
		"../../deploy/dashboards/*.json":              nil,
		"../../deploy/examples/*":                     nil,
		"../../deploy/packages/*/*":                   nil,
		"../../.github/ISSUE_TEMPLATE/*":              nil,
		"../../Makefile":                              nil,
		"../../.ci/run":                               regexp.MustCompile(`(?m)^#.*$`),
		"testdata/script/*.txtar":                     regexp.MustCompile(`(?m)^#.*$`),
		"../../credential/kubeletconfig/testdata/*":   regexp.MustCompile(`\A[^\n]*`),
		"../../e2e/*.sh":                              regexp.MustCompile(`(?m)^\s*#.*$`),
		"../../e2e/mutate/mutations.txt":              regexp.MustCompile(`(?m)^(#|==|breaks:).*$`),
		"../../hosts/containerdconfig/testdata/*.txt": regexp.MustCompile(`(?m)^(#|===).*$`),
		"../../mirror/testdata/faults.txt":            regexp.MustCompile(`(?m)^===.*$`),
		"../../cmd/internal/kubeletflags/testdata/*":  nil,
		"../../deploy/chart/values.schema.json":       nil,
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s is no longer there: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				if info, statErr := os.Stat(file); statErr == nil && info.IsDir() {
					continue
				}
				t.Fatal(err)
			}
			text := string(data)
			if lines != nil {
				text = strings.Join(lines.FindAllString(text, -1), "\n")
			}
			found[file] = text
		}
	}
	return found
}

// isUsual reports whether a stilted word is in its usual place: "there is none", "is no
// longer", "is no reason to", and the name of the user without rights.
func isUsual(before, found string) bool {
	before = strings.ToLower(before)
	there := strings.HasSuffix(strings.TrimRight(before, " \n#"), "there")
	switch _, after, isNo := strings.Cut(found, " no "); {
	case strings.HasSuffix(found, "none"):
		return there
	case isNo:
		return there || slices.Contains([]string{"longer", "more", "reason", "pulls", "services"}, after)
	}
	return found == "nobody" && (before == `"` || strings.HasSuffix(before, "="))
}
