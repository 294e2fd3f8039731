package config

import "testing"

// An example that is changed counts only as long as all of it is there.
func TestExampleNeedsAllOfIt(t *testing.T) {
	bySpelling := 0
	for _, e := range readExamples(t) {
		if !e.In(e.Tree) {
			t.Errorf("%s is not in itself", e.Name)
		}
		if e.bySpelling {
			bySpelling++
		}
	}
	if bySpelling == 0 {
		t.Error("no example is about its spelling; want those of TOML 1.1")
	}
	e := Example{Tree: newTree()}
	e.Tree.Files[Main] = &File{Raw: "version = 2\nimports = [\"a\"]\n[plugins.x]\ny = 1\n[plugins.z]\n"}
	for text, want := range map[string]bool{
		"version = 2\nimports = [\"a\"]\n[plugins.x]\ny = 1\n[plugins.z]\n":                    true,
		"imports = [\"a\", \"b\"]\nversion = 2\nplugins = {z = {w = 1}, x = {y = 1, v = 2}}\n": true,
		"version = 3\nimports = [\"a\"]\n[plugins.x]\ny = 1\n[plugins.z]\n":                    false,
		"imports = [\"a\"]\n[plugins.x]\ny = 1\n[plugins.z]\n":                                 false,
		"version = 2\nimports = [\"b\", \"a\"]\n[plugins.x]\ny = 1\n[plugins.z]\n":             false,
		"version = 2\nimports = [\"a\"]\n[plugins.x]\ny = 1\n":                                 false,
	} {
		tree := newTree()
		tree.Files[Main] = (&File{Raw: text}).asTable(1)
		if got := e.In(tree); got != want {
			t.Errorf("In(%q) = %t; want %t", text, got, want)
		}
	}
	moved := newTree()
	moved.Links[Main] = "../../srv" + Main
	moved.Files["/srv"+Main] = e.Tree.Files[Main].asTable(1)
	if !e.In(moved) {
		t.Error("an example behind a link is not in its tree")
	}
}
