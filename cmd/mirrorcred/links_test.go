package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// link matches the target of a link.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinks checks that each link between the documents leads to a file, and to a
// heading that is in it.
func TestLinks(t *testing.T) {
	found := 0
	docs := documents(t)
	for file, text := range docs {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			found++
			name, anchor, _ := strings.Cut(m[1], "#")
			to := file
			if name != "" {
				to = filepath.Join(filepath.Dir(file), name)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s links to %s: %v", file, m[1], err)
			}
			if anchor != "" && !slices.Contains(anchors(docs[to]), anchor) {
				t.Errorf("%s links to %s, and there is no such heading; there are %q", file, m[1], anchors(docs[to]))
			}
		}
	}
	if found < 15 {
		t.Errorf("found %d links", found)
	}
}

var (
	testName   = regexp.MustCompile(`\bTest[A-Z]\w*`)
	sourcePath = regexp.MustCompile("`((?:cmd|mirror|hosts|credential|systemd|internal|docs|e2e)/[a-z0-9_./-]*)`")
)

// TestNames checks that the tests and the files of the source that documents name
// are there.
func TestNames(t *testing.T) {
	var tests strings.Builder
	err := filepath.WalkDir("../..", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		data, err := os.ReadFile(path)
		tests.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	names, paths := 0, 0
	for file, text := range documents(t) {
		for _, name := range testName.FindAllString(text, -1) {
			names++
			if !strings.Contains(tests.String(), "\nfunc "+name+"(") {
				t.Errorf("%s names %s, and there is no such test", file, name)
			}
		}
		for _, m := range sourcePath.FindAllStringSubmatch(text, -1) {
			paths++
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("%s names a file: %v", file, err)
			}
		}
	}
	if names < 30 || paths < 50 {
		t.Errorf("found %d names of tests and %d paths", names, paths)
	}
}

var notInAnchor = regexp.MustCompile(`[^\p{L}\p{N}\- _]`)

// anchors returns the anchors of a document's headings.
func anchors(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "#") {
			slug := notInAnchor.ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			list = append(list, strings.ReplaceAll(slug, " ", "-"))
		}
	}
	return list
}

// inline matches a command of mirrorcred in a sentence.
var inline = regexp.MustCompile("`(mirrorcred [a-z][^`]*)`")

// TestCommands checks that each command line of mirrorcred in the documents is
// one that the program takes.
func TestCommands(t *testing.T) {
	found := 0
	for file, text := range documents(t) {
		var scripts []string
		for _, b := range blocks(text) {
			if b.language == "sh" {
				scripts = append(scripts, b.text)
			}
		}
		for _, m := range inline.FindAllStringSubmatch(text, -1) {
			scripts = append(scripts, m[1])
		}
		for _, args := range commandLines(strings.Join(scripts, "\n")) {
			found++
			if err := run(t.Context(), append(args, "--help"), new(strings.Builder)); err != nil {
				t.Errorf("%s: mirrorcred %s: %v", file, strings.Join(args, " "), err)
			}
		}
	}
	if found < 20 {
		t.Errorf("found %d command lines", found)
	}
}

// commandLines returns the arguments of each mirrorcred that a script runs.
func commandLines(script string) [][]string {
	var list [][]string
	for _, part := range regexp.MustCompile(`[\n;|&]`).Split(script, -1) {
		words := strings.Fields(regexp.MustCompile(`#.*`).ReplaceAllString(part, ""))
		if len(words) > 1 && words[0] == "mirrorcred" {
			list = append(list, words[1:])
		}
	}
	return list
}

// TestIssueTemplates checks that the issue templates are of GitHub's form, and that
// the commands in them are mirrorcred's.
func TestIssueTemplates(t *testing.T) {
	files, err := filepath.Glob("../../.github/ISSUE_TEMPLATE/*.yml")
	if err != nil || len(files) < 3 {
		t.Fatalf("the templates are %q: %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var form struct {
			Name, Description string
			Labels            []string
			Body              []struct {
				Type, ID    string
				Attributes  map[string]string
				Validations map[string]bool
			}
			Blank *bool                               `yaml:"blank_issues_enabled"`
			Links []struct{ Name, URL, About string } `yaml:"contact_links"`
		}
		decoder := yaml.NewDecoder(strings.NewReader(string(data)))
		decoder.KnownFields(true)
		if err := decoder.Decode(&form); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if filepath.Base(file) == "config.yml" {
			continue
		}
		if form.Name == "" || form.Description == "" || len(form.Body) == 0 {
			t.Errorf("%s has no name, description or body", file)
		}
		for _, field := range form.Body {
			if field.Type == "markdown" != (field.Attributes["label"] == "") {
				t.Errorf("%s: the field %q of type %s has the label %q", file, field.ID, field.Type, field.Attributes["label"])
			}
			for _, args := range commandLines(field.Attributes["label"]) {
				if err := run(t.Context(), append(args, "--help"), new(strings.Builder)); err != nil {
					t.Errorf("%s: mirrorcred %s: %v", file, strings.Join(args, " "), err)
				}
			}
		}
	}
}
