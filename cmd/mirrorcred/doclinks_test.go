package main

import (
	"cmp"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docLink matches what go doc takes for a link in a comment, and what it would if it
// resolved names that are not exported.
var docLink = regexp.MustCompile(`(?:^|[\s(\[])\[\*?([A-Za-z]\w*(?:\.[A-Za-z]\w*){0,2})\]`)

// TestDocLinks checks that each link in a doc comment leads somewhere: to a name that is
// exported, if what the comment documents is.
func TestDocLinks(t *testing.T) {
	packages, files := parsedPackages(t)
	links := 0
	for dir, list := range packages {
		p := newDeclarations(list)
		names := map[string]map[string]bool{dir: p.declared}
		resolves := func(link string) bool {
			if p.declared[link] {
				return true
			}
			first, name, _ := strings.Cut(link, ".")
			imported, ok := p.imports[first]
			if !ok {
				imported, ok = comment.DefaultLookupPackage(first)
			}
			own, isOwn := strings.CutPrefix(imported, module)
			if !ok || !isOwn || name == "" {
				return ok
			}
			if names[own] == nil {
				names[own] = newDeclarations(packages[own]).declared
			}
			return names[own][name]
		}
		for _, d := range p.docs {
			for _, m := range docLink.FindAllStringSubmatch(d.text.Text(), -1) {
				if strings.Contains(m[0], "[[") && !d.isExported {
					continue // a table of the map, in what go doc does not show
				}
				links++
				last := m[1][strings.LastIndexByte(m[1], '.')+1:]
				switch at := files.Position(d.text.Pos()); {
				case !resolves(m[1]):
					t.Errorf("%s: [%s] names nothing", at, m[1])
				case d.isExported && p.declared[m[1]] && !token.IsExported(last):
					t.Errorf("%s: [%s] is not a link in go doc, which does not show that name", at, m[1])
				}
			}
		}
	}
	if links < 400 {
		t.Errorf("found %d links", links)
	}
}

// parsedPackages returns the files of each directory's package, without its tests, by
// the directory's path in the repository.
func parsedPackages(t *testing.T) (map[string][]*ast.File, *token.FileSet) {
	t.Helper()
	files, packages := token.NewFileSet(), map[string][]*ast.File{}
	err := fs.WalkDir(os.DirFS("../.."), ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == ".git" || e.Name() == "testdata"):
			return fs.SkipDir
		case path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, filepath.Join("../..", name), nil, parser.ParseComments|parser.SkipObjectResolution)
		packages[path.Dir(name)] = append(packages[path.Dir(name)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return packages, files
}

// declarations are the names that a package declares and imports, with its doc
// comments. A member of a type has the type's name before it.
type declarations struct {
	declared map[string]bool
	imports  map[string]string
	docs     []documented
}

// documented is a doc comment, and whether what it documents is exported.
type documented struct {
	text       *ast.CommentGroup
	isExported bool
}

func newDeclarations(list []*ast.File) *declarations {
	n := &declarations{declared: map[string]bool{}, imports: map[string]string{}}
	for _, file := range list {
		for _, spec := range file.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			n.imports[path.Base(imported)] = imported
			if spec.Name != nil {
				n.imports[spec.Name.Name] = imported
			}
		}
		n.docs = append(n.docs, documented{file.Doc, file.Name.Name != "main"})
		for _, decl := range file.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				of, _, isMethod := strings.Cut(nameOf(decl), ".")
				if !isMethod {
					of = ""
				}
				n.add(decl.Doc, of, decl.Name)
			case *ast.GenDecl:
				for i, spec := range decl.Specs {
					text := decl.Doc
					if i > 0 {
						text = nil // has been read
					}
					n.spec(text, spec)
				}
			}
		}
	}
	return n
}

// add adds one name of a type, or of the package if that is "", with its comment.
func (n *declarations) add(text *ast.CommentGroup, of string, id *ast.Ident) {
	isExported := of == "" || token.IsExported(of)
	if id != nil {
		n.declared[strings.TrimPrefix(of+"."+id.Name, ".")] = true
		isExported = isExported && id.IsExported()
	}
	if text != nil {
		n.docs = append(n.docs, documented{text, isExported})
	}
}

func (n *declarations) spec(text *ast.CommentGroup, spec ast.Spec) {
	switch spec := spec.(type) {
	case *ast.ValueSpec:
		for _, id := range spec.Names {
			n.add(text, "", id)
			n.add(spec.Doc, "", id)
			text = nil
		}
	case *ast.TypeSpec:
		n.add(text, "", spec.Name)
		n.add(spec.Doc, "", spec.Name)
		ast.Inspect(spec.Type, func(node ast.Node) bool {
			if field, ok := node.(*ast.Field); ok {
				for _, id := range field.Names {
					n.add(field.Doc, spec.Name.Name, id)
				}
			}
			return true
		})
	}
}

// TestDocComments checks that each exported function and type has a doc comment, which
// begins with its name.
func TestDocComments(t *testing.T) {
	packages, files := parsedPackages(t)
	check := func(id *ast.Ident, text *ast.CommentGroup) {
		words := strings.Fields(text.Text())
		if len(words) > 1 && (words[0] == "A" || words[0] == "An") {
			words = words[1:]
		}
		if len(words) == 0 || strings.TrimRight(words[0], ",:.") != id.Name {
			t.Errorf("%s: the comment of %s does not begin with that name", files.Position(id.Pos()), id.Name)
		}
	}
	for _, list := range packages {
		for _, file := range list {
			for _, decl := range file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					if of, name, isMethod := strings.Cut(nameOf(decl), "."); token.IsExported(of) && (!isMethod || token.IsExported(name)) {
						check(decl.Name, decl.Doc)
					}
				case *ast.GenDecl:
					for _, spec := range decl.Specs {
						if spec, ok := spec.(*ast.TypeSpec); ok && spec.Name.IsExported() {
							check(spec.Name, cmp.Or(spec.Doc, decl.Doc))
						}
					}
				}
			}
		}
	}
}
