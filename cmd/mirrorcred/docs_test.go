package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestDocs holds the documents to what the program does: each block of TOML is
// a map that parses or, where it begins with the name of a hosts.toml, what the
// map before it makes. A block of YAML is what that map makes of the kubelet's
// configuration.
func TestDocs(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	maps, trees, kubelets := 0, 0, 0
	for _, file := range append(files, "../../README.md") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var last *mirror.Map
		var text string // of it
		for _, block := range blocks(string(data), "toml", "yaml") {
			if block, ok := strings.CutPrefix(block, "yaml\n"); ok {
				kubelets++
				if got := kubeletConfig(t, text); !strings.Contains(got, block) {
					t.Errorf("%s: the kubelet's configuration is said to have\n%s\nand the map before it makes\n%s", file, block, got)
				}
				continue
			}
			block = strings.TrimPrefix(block, "toml\n")
			name, body, _ := strings.Cut(block, "\n")
			namespace, isTree := strings.CutPrefix(name, "# certs.d/")
			if !isTree {
				if last, err = mirror.Parse(filepath.Base(file), []byte(block)); err != nil {
					t.Errorf("%s: a map in it is wrong: %v\n%s", file, err, block)
				}
				text = block
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
	if maps < 10 || trees < 5 || kubelets < 1 {
		t.Errorf("found %d maps, %d hosts.toml and %d configurations of the kubelet in the documents; were they looked for rightly?", maps, trees, kubelets)
	}
}

// blocks returns the blocks in some languages, each behind a line with its own.
func blocks(text string, languages ...string) []string {
	var list []string
	for {
		_, rest, ok := strings.Cut(text, "```")
		if !ok {
			return list
		}
		var block string
		block, text, _ = strings.Cut(rest, "```")
		if language, _, _ := strings.Cut(block, "\n"); slices.Contains(languages, language) {
			list = append(list, block)
		}
	}
}

// kubeletConfig returns the kubelet's configuration that a map makes.
func kubeletConfig(t *testing.T, text string) string {
	t.Helper()
	root := t.TempDir()
	if err := newRoot(root); err != nil {
		t.Fatal(err)
	}
	n := node.New(root, filepath.Join(root, "map.toml"), false)
	if err := os.WriteFile(n.Map, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(root, mirror.DefaultKubeletConfig))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
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
