package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestDocs holds the documents to what the program does: each block of TOML is
// a map that parses or, where it begins with the name of a hosts.toml, what the
// map before it makes.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	maps, trees := 0, 0
	for _, file := range append(files, "../../README.md") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var last *mirror.Map
		for _, block := range tomlBlocks(string(data)) {
			name, body, _ := strings.Cut(block, "\n")
			namespace, isTree := strings.CutPrefix(name, "# certs.d/")
			if !isTree {
				if last, err = mirror.Parse(filepath.Base(file), []byte(block)); err != nil {
					t.Errorf("%s: a map in it is wrong: %v\n%s", file, err, block)
				}
				maps++
				continue
			}
			trees++
			namespace = strings.TrimSuffix(namespace, "/"+hosts.FileName)
			if got := rendered(t, last, namespace); got != body {
				t.Errorf("%s: %s is\n%s\nand the map before it makes\n%s", file, namespace, body, got)
			}
		}
	}
	if maps < 10 || trees < 5 {
		t.Errorf("found %d maps and %d hosts.toml in the documents; were they looked for rightly?", maps, trees)
	}
}

func tomlBlocks(text string) []string {
	var blocks []string
	for {
		_, rest, ok := strings.Cut(text, "```toml\n")
		if !ok {
			return blocks
		}
		var block string
		block, text, _ = strings.Cut(rest, "```\n")
		blocks = append(blocks, block)
	}
}

// rendered returns what a map makes for a namespace, without the header line.
func rendered(t *testing.T, m *mirror.Map, namespace string) string {
	t.Helper()
	files, err := hosts.Render(m, hosts.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if f.Namespace == namespace {
			_, body, _ := strings.Cut(string(f.Data), "\n")
			return body
		}
	}
	return ""
}
