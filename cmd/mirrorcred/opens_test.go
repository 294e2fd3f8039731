package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// opening are the functions that open what a path leads to, by the package that
// they are of. All of them wait for the other end of a FIFO, or take a device.
var opening = map[string][]string{
	"os":                    {"ReadFile", "Open", "OpenFile", "Create", "WriteFile", "DirFS", "OpenRoot", "OpenInRoot", "CopyFS"},
	"io/fs":                 {"ReadFile"},
	"io/ioutil":             {"ReadFile", "WriteFile"},
	"syscall":               {"Open", "Openat", "Creat"},
	"golang.org/x/sys/unix": {"Open", "Openat", "Openat2", "Creat"},
}

// openers may use them, each for its reason. A name is that of a directory, or of
// a function in one.
var openers = map[string]string{
	"internal/input":                                        "it is where inputs are opened",
	"cmd/internal/durable.Tree.Create":                      "it makes a file that must not be there",
	"cmd/internal/durable.Tree.OpenLock":                    "it locks a file and reads nothing; it does not wait for a FIFO",
	"cmd/internal/durable.Tree.Mkdir":                       "it opens the directory that it has just made",
	"cmd/internal/durable.removeAll":                        "it opens nothing but directories",
	"cmd/internal/audit.open":                               "it appends, and checks for itself that it is a file, without a wait",
	"cmd/internal/tokens.openLock":                          "it locks a file and reads nothing; it does not wait for a FIFO",
	"cmd/internal/tokens.files.write":                       "it makes a file that must not be there",
	"cmd/internal/process/machinetest":                      "it makes the machines of tests",
	"internal/pullsecrettest":                               "it makes the API servers of tests",
	"cmd/internal/nodetest.Node.WriteFile":                  "it makes the nodes of tests",
	"cmd/internal/nodetest.install":                         "it makes the nodes of tests",
	"cmd/internal/nodetest/layouts.Write":                   "it makes the nodes of tests",
	"cmd/internal/nodetest/layouts/containerd.Layout.Write": "it makes the nodes of tests",
}

// TestInputsOpenedInOnePlace checks that inputs are opened in one place (package
// internal/input), so that nothing waits for what is not a file.
func TestInputsOpenedInOnePlace(t *testing.T) {
	used := map[string]bool{}
	root := "../.."
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != root && (err == nil || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, u := range uses(t, path, opening) {
			name := dir + "." + u.function
			_, wholeDir := openers[dir]
			_, byName := openers[name]
			used[dir], used[name] = true, true
			if !wholeDir && !byName {
				t.Errorf("%s: %s uses %s; open it by package internal/input", u.at, name, u.what)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range openers {
		if !used[name] {
			t.Errorf("%s opens nothing any more; take it out of the list", name)
		}
	}
}

// A use is one of a function that opens.
type use struct {
	at             token.Position
	function, what string
}

// uses returns where a file uses the named functions of the packages.
func uses(t *testing.T, path string, of map[string][]string) []use {
	t.Helper()
	return usesThat(t, path, func(imported, name string) bool {
		return name == "." && of[imported] != nil || slices.Contains(of[imported], name)
	})
}

// usesThat returns where a file uses what is chosen of the packages that it imports.
// Of an import by dot, nothing tells what is used: its name is ".".
func usesThat(t *testing.T, path string, chosen func(imported, name string) bool) []use {
	t.Helper()
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]string{} // by the name that they have in the file
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		name := imported[strings.LastIndexByte(imported, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		if name == "." && chosen(imported, name) {
			t.Errorf("%s imports %s by dot", path, imported)
		}
		packages[name] = imported
	}
	var list []use
	for _, decl := range file.Decls {
		ast.Inspect(decl, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if x, ok := selector.X.(*ast.Ident); ok && packages[x.Name] != "" && chosen(packages[x.Name], selector.Sel.Name) {
				list = append(list, use{files.Position(selector.Pos()), nameOf(decl), x.Name + "." + selector.Sel.Name})
			}
			return true
		})
	}
	return list
}

// nameOf returns the name of a function, with its receiver's.
func nameOf(decl ast.Decl) string {
	f, ok := decl.(*ast.FuncDecl)
	if !ok {
		return "(a variable)"
	}
	if f.Recv == nil {
		return f.Name.Name
	}
	receiver := f.Recv.List[0].Type
	if star, ok := receiver.(*ast.StarExpr); ok {
		receiver = star.X
	}
	if ident, ok := receiver.(*ast.Ident); ok {
		return ident.Name + "." + f.Name.Name
	}
	return f.Name.Name
}

// byPath are the functions that take a path as this machine has it.
var byPath = map[string][]string{
	"os": {
		"Stat", "Lstat", "ReadDir", "Readlink", "Rename", "Remove", "RemoveAll", "Mkdir", "MkdirAll", "MkdirTemp", "CreateTemp",
		"Chmod", "Chown", "Lchown", "Chtimes", "Symlink", "Link", "Truncate", "Chdir",
	},
	"path/filepath":         {"Glob", "Walk", "WalkDir", "EvalSymlinks"},
	"golang.org/x/sys/unix": {"Stat", "Lstat", "Statfs", "Statx", "Access", "Rename", "Unlink", "Rmdir", "Mkdir", "Chmod", "Symlink", "Link"},
	"syscall":               {"Stat", "Lstat", "Statfs", "Rename", "Unlink", "Rmdir", "Mkdir", "Chmod", "Symlink", "Link"},
	"github.com/mirrorcred/mirrorcred/internal/input": {"ReadFile", "Read", "ReadNoFollow", "Open", "OpenDir"},
}

// ownMachine are the files of cmd/internal/node that are about this machine
// only, and so may use them.
var ownMachine = map[string]string{
	"machine.go":   "processes are those of our own machine",
	"records.go":   "below another root no kubelet runs, and none has records",
	"changed.go":   "below another root no kubelet runs, and what it read is not asked",
	"times.go":     "below another root mirrorcred waits for no file",
	"trust.go":     "it follows links below the root by itself, and judges each step",
	"follower.go":  "it asks about a file that was opened by way of the root",
	"holder.go":    "/proc/locks is of our own machine",
	"elsewhere.go": "it compares a root with that of our own machine",
}

// TestNodeStaysInItsRoot checks that a node's paths are reached through its root,
// out of which no link leads: cmd/internal/durable changes what is there.
func TestNodeStaysInItsRoot(t *testing.T) {
	files, err := filepath.Glob("../internal/node/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		if ownMachine[filepath.Base(file)] != "" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, u := range uses(t, file, byPath) {
			t.Errorf("%s: %s uses %s, and a link may lead it out of --root; use the methods of Node.tree, or of disk", u.at, u.function, u.what)
		}
	}
}
