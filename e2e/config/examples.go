package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
)

// An Example is a configuration with what each line makes of it.
type Example struct {
	Name string
	Tree *Tree
	Want map[string]string // by line, such as "2.2": C, X, none, list, "no CRI", "no start"

	bySpelling bool // some line makes something else of the same tables written plainly
}

// Examples reads the examples of hosts/containerdconfig, which are there in
// testdata, in the files' order.
func Examples(dir string) ([]Example, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []Example
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		for _, text := range strings.Split("\n"+string(data), "\n=== ")[1:] {
			e, err := parseExample(text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			e.bySpelling = e.isBySpelling()
			all = append(all, e)
		}
	}
	return all, nil
}

// parseExample reads a name, a line of answers, and files, each after a line
// with its name in dashes.
func parseExample(text string) (Example, error) {
	head, files, _ := strings.Cut(text, "\n-- ")
	name, wants, ok := strings.Cut(strings.TrimSpace(head), "\n")
	if !ok {
		if name, _, ok = strings.Cut(head, "\n"); !ok {
			return Example{}, fmt.Errorf("example %q has no answers", head)
		}
	}
	e := Example{Name: name, Tree: newTree(), Want: map[string]string{}}
	for _, want := range strings.Split(wants, " | ") {
		line, answer, ok := strings.Cut(strings.TrimSpace(want), " ")
		if !ok {
			return Example{}, fmt.Errorf("example %q: answer %q", name, want)
		}
		e.Want[line] = answer
	}
	if files == "" {
		return e, nil
	}
	for _, file := range strings.Split(files, "\n-- ") {
		name, data, ok := strings.Cut(file, " --")
		if !ok {
			return Example{}, fmt.Errorf("example %q: file %q", e.Name, file)
		}
		e.Tree.Files[filepath.Join("/etc/containerd", name)] = &File{Raw: strings.TrimPrefix(data, "\n") + "\n"}
	}
	return e, nil
}

// Answer returns what the example has for a version such as "2.1.9". The
// columns stand for the lines after them that have none.
func (e Example) Answer(version string) string {
	line := version[:3]
	for _, column := range []string{line, map[string]string{"2.1": "2.0", "2.4": "2.3"}[line]} {
		if want, ok := e.Want[column]; ok {
			return want
		}
	}
	return ""
}

// In reports whether a tree still has all that the example has, in whatever way
// it is written, if that does not matter, and whatever else is there.
func (e Example) In(t *Tree) bool {
	for name, f := range e.Tree.Files {
		if target, ok := t.Links[name]; ok {
			if name = target; !filepath.IsAbs(name) {
				name = filepath.Join("/etc/containerd", name)
			}
		}
		here, table := t.Files[name], f.asTable(0).Table
		switch {
		case here == nil:
			return false
		case e.bySpelling || table == nil:
			if here.Text() != f.Text() {
				return false
			}
		case !within(table, here.asTable(0).Table):
			return false
		}
	}
	return true
}

func (e Example) isBySpelling() bool {
	plain := e.Tree.Clone()
	for name, f := range plain.Files {
		plain.Files[name] = f.asTable(0)
	}
	for _, v := range containerdconfig.Lines() {
		if opinionOf(e.Tree, v).answer != opinionOf(plain, v).answer {
			return true
		}
	}
	return false
}

// within reports whether a value is part of another: a table of a table with
// more keys, a list the beginning of a longer one.
func within(v, whole any) bool {
	switch v := v.(type) {
	case map[string]any:
		table, ok := whole.(map[string]any)
		for k, e := range v {
			ok = ok && table[k] != nil && within(e, table[k])
		}
		return ok
	case []any:
		list, ok := whole.([]any)
		return ok && len(v) <= len(list) && reflect.DeepEqual(v, list[:len(v)])
	}
	return v == whole
}
