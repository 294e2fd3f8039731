package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ownDirs are the directories of a node that are mirrorcred's alone, and the file with
// the watcher's flags.
const ownDirs = `/etc/mirrorcred|/etc/default/mirrorcred|/run/mirrorcred|/usr/local/lib/mirrorcred|/var/lib/mirrorcred|/var/log/mirrorcred`

var ownPath = regexp.MustCompile(`^(?:` + ownDirs + `)(?:/[\w.-]+)*$`)

// TestPaths holds that docs/how-it-works.md has a row for each path of mirrorcred's own
// that the code or a unit names: the path, a directory that it is in, or files below it.
func TestPaths(t *testing.T) {
	var rows []string
	for _, row := range modeRow.FindAllStringSubmatch(readDocument(t, "docs/how-it-works.md"), -1) {
		rows = append(rows, rowPaths(row[1])...)
	}
	named := ownPaths(t)
	if len(named) < 25 {
		t.Errorf("found %d paths: %q", len(named), slices.Sorted(maps.Keys(named)))
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		isNamed := slices.ContainsFunc(rows, func(row string) bool {
			return row == name || row == name+"/" || strings.HasPrefix(row, name+"/") ||
				strings.HasSuffix(row, "/") && strings.HasPrefix(name, row)
		})
		if !isNamed {
			t.Errorf("%s names %s; docs/how-it-works.md has no row for it", named[name], name)
		}
	}
}

// rowPaths returns the paths of a row; those after the first are beside it.
func rowPaths(text string) []string {
	paths := strings.Split(strings.ReplaceAll(text, "`", ""), ", ")
	for i := range paths {
		if i > 0 {
			paths[i] = path.Join(path.Dir(paths[0]), paths[i])
		}
	}
	return paths
}

// ownPaths returns the paths of mirrorcred's own that are named, each with a file that
// names it.
func ownPaths(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	note := func(file, name string) {
		if name = strings.TrimSuffix(name, "/"); ownPath.MatchString(name) {
			found[name] = file
		}
	}
	c := constants{}
	files := goFiles(t)
	for _, f := range files {
		c.add(f)
	}
	for name, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if e, ok := n.(ast.Expr); ok {
				note(name, c.text(f.Name.Name, e, 0))
			}
			return true
		})
	}
	units, err := filepath.Glob("../../systemd/mirrorcred*")
	if err != nil || len(units) < 6 {
		t.Fatalf("found the units %q: %v", units, err)
	}
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range unitPaths(string(data)) {
			note(unit, name)
		}
	}
	return found
}

// goFiles returns the syntax of each file of the two programs but the tests.
func goFiles(t *testing.T) map[string]*ast.File {
	t.Helper()
	files := map[string]*ast.File{}
	err := filepath.WalkDir("../..", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && slices.Contains([]string{".git", "testdata", "bin", "e2e", "deploy", "nodetest"}, e.Name()):
			return filepath.SkipDir
		case filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// constants are the constants of all packages, by "package.Name".
type constants map[string]ast.Expr

func (c constants) add(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			for i, value := range v.Values {
				c[f.Name.Name+"."+v.Names[i].Name] = value
			}
		}
	}
}

// text returns the value of an expression of literals and constants, "" for others.
func (c constants) text(in string, e ast.Expr, depth int) string {
	if depth > 10 {
		return ""
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(e.Value)
		return s
	case *ast.Ident:
		return c.text(in, c[in+"."+e.Name], depth+1)
	case *ast.SelectorExpr:
		if x, ok := e.X.(*ast.Ident); ok {
			return c.text(x.Name, c[x.Name+"."+e.Sel.Name], depth+1)
		}
	case *ast.BinaryExpr:
		left, right := c.text(in, e.X, depth+1), c.text(in, e.Y, depth+1)
		if e.Op == token.ADD && left != "" && right != "" {
			return left + right
		}
	}
	return ""
}

var (
	unitPath      = regexp.MustCompile(`(?:` + ownDirs + `)[\w./-]*`)
	unitDirectory = regexp.MustCompile(`(?m)^(Runtime|State|Logs)Directory=(.*)$`)
)

// unitPaths returns the paths that a unit names, and the directories that it has systemd
// make.
func unitPaths(text string) []string {
	paths := unitPath.FindAllString(text, -1)
	for _, m := range unitDirectory.FindAllStringSubmatch(text, -1) {
		parent := map[string]string{"Runtime": "/run", "State": "/var/lib", "Logs": "/var/log"}[m[1]]
		for _, dir := range strings.Fields(m[2]) {
			paths = append(paths, path.Join(parent, dir))
		}
	}
	return paths
}
