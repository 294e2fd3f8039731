package config

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mirrorcred/mirrorcred/e2e/build"
)

var bakeFlag = flag.Int("bake", 40, "how many random trees are baked, besides the examples")

// TestBake has "mirrorcred bootstrap bake" set config_path in random trees, for each
// version of containerd and for one that is not known, and then asks the version's
// own loader: if bake says that it is done, containerd reads the map's directory,
// and nothing else in its effective configuration has changed. If it is refused,
// no file is touched.
func TestBake(t *testing.T) {
	loaders, examples := startLoaders(t), readExamples(t)
	bin, dir := t.TempDir(), t.TempDir()
	if err := build.Ours(t.Context(), "../..", bin, os.Stderr, "./cmd/mirrorcred", "./cmd/mirror-credential-provider"); err != nil {
		t.Fatal(err)
	}
	seed := seedOf(t)
	g := NewGenerator(seed, examples)
	var trees []*Tree
	for len(trees) < *bakeFlag {
		trees = append(trees, g.Next())
	}
	for _, e := range examples {
		trees = append(trees, e.Tree)
	}
	share := len(loaders) // one loader a tree; with -whole two
	if *wholeFlag {
		share = max(1, share/2)
	}
	done, edited, refused := 0, 0, 0
	for i, tree := range trees {
		for n, l := range loaders {
			if (i+n)%share != 0 {
				continue // the others have their turn with another tree
			}
			version := l.Version
			if (i+n)%7 == 0 {
				version = "" // then what is done must be right for all
			}
			root := filepath.Join(dir, "tree")
			out, ok, before, err := bakeTree(bin, root, tree, version)
			if err != nil {
				t.Fatal(err)
			}
			old, now, err := bothVerdicts(l, dir, root, tree)
			if err != nil {
				t.Fatal(err)
			}
			switch after := snapshot(t, root); {
			case ok && (!now.Arms() || now.Disabled):
				if old.Starts || version != "" {
					t.Errorf("containerd %s, said to be %q: bake is done, and it is %s %s\n%s\n%s", l.Version, version, now.full(), now.Why, out, tree)
				}
			case ok && old.Starts && now.Rest != old.Rest:
				t.Errorf("containerd %s, said to be %q: more than config_path has changed\n%s\n%s\n%s\n%s", l.Version, version, old.Rest, now.Rest, out, tree)
			case !ok && after != before:
				t.Errorf("containerd %s: bake is refused, and a file has changed\n%s\n%s\n%s", l.Version, out, before, after)
			case !ok:
				refused++
			default:
				done++
				if after != before {
					edited++
				}
			}
		}
	}
	t.Logf("done %d times, of which %d with an edit; refused %d times", done, edited, refused)
	if runs := done + refused; edited*20 < runs || refused*20 < runs {
		t.Errorf("edited %d times and refused %d times in %d trees; want more of both, or this holds nothing", edited, refused, len(trees))
	}
}

// bakeTree writes a tree and bakes it, and returns what was said, whether it was done,
// and containerd's files as they were.
func bakeTree(bin, root string, tree *Tree, version string, flags ...string) (out string, ok bool, before string, err error) {
	if err := os.RemoveAll(root); err != nil {
		return "", false, "", err
	}
	if err := tree.Write(root); err != nil {
		return "", false, "", err
	}
	text := mapText
	if version != "" {
		text += fmt.Sprintf("version = %q\n", version)
	}
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{mapFile: {text, 0o644}, secretFile: {secretText, 0o600}} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return "", false, "", err
		}
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			return "", false, "", err
		}
	}
	if before, err = files(root); err != nil {
		return "", false, "", err
	}
	data, err := exec.Command(filepath.Join(bin, "mirrorcred"), append([]string{"bootstrap", "bake", "--root", root}, flags...)...).CombinedOutput()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		return "", false, "", err
	}
	return string(data), err == nil, before, nil
}

// bothVerdicts returns a loader's verdicts for a tree as it was and as it is baked.
func bothVerdicts(l *Loader, dir, root string, tree *Tree) (old, now Verdict, err error) {
	first := filepath.Join(dir, "first")
	if err := os.RemoveAll(first); err != nil {
		return old, now, err
	}
	if err := tree.Write(first); err != nil {
		return old, now, err
	}
	all, err := l.AskAgain(someTimes, first, root)
	if err != nil {
		return old, now, err
	}
	return all[0], all[1], nil
}

// snapshot is [files] for a test.
func snapshot(t *testing.T, root string) string {
	t.Helper()
	text, err := files(root)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// files returns containerd's files below a root but for those of the mirrors.
func files(root string) (string, error) {
	var b bytes.Buffer
	err := filepath.WalkDir(filepath.Join(root, "etc/containerd"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/certs.d/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil && d.Type()&os.ModeSymlink == 0 {
			return err
		}
		fmt.Fprintf(&b, "%s\n%s\n", strings.TrimPrefix(path, root), data)
		return nil
	})
	return b.String(), err
}

// TestBakeLayouts bakes the layouts of the distributions, with --adopt if that is
// needed: containerd's own loader of the version says that the map's directory is in
// force, and that nothing else in the effective configuration has changed. The layouts
// whose files are generated elsewhere, or on which nothing is done, are left out.
func TestBakeLayouts(t *testing.T) {
	loaders := startLoaders(t)
	bin, dir := t.TempDir(), t.TempDir()
	if err := build.Ours(t.Context(), "../..", bin, os.Stderr, "./cmd/mirrorcred", "./cmd/mirror-credential-provider"); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("../../cmd/internal/nodetest/layouts/containerd/testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	baked := 0
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		head := string(archive.Comment)
		isRefused := strings.Contains(head, "\nbake: refused") && !strings.Contains(head, "\nadopt:")
		if isRefused || strings.Contains(head, "\nbake: nodeadm") || strings.Contains(head, "\nmap: [containerd]") {
			continue
		}
		_, versions, _ := strings.Cut(head, "\ncontainerd: ")
		versions, _, _ = strings.Cut(versions, "\n")
		for _, l := range loaders {
			if !strings.Contains(" "+versions+" ", " "+l.Version[:3]+" ") {
				continue
			}
			tree := newTree()
			for _, f := range archive.Files {
				words := strings.Fields(f.Name)
				tree.Files[words[0]] = &File{Raw: string(f.Data) + "\n"}
			}
			root := filepath.Join(dir, "tree")
			out, ok, _, err := bakeTree(bin, root, tree, l.Version, "--adopt")
			if err != nil {
				t.Fatal(err)
			}
			old, now, err := bothVerdicts(l, dir, root, tree)
			switch {
			case err != nil:
				t.Fatal(err)
			case !ok:
				t.Errorf("%s, containerd %s: bake is refused: %s", name, l.Version, out)
			case !now.Reads():
				t.Errorf("%s, containerd %s: it is %s %s", name, l.Version, now, now.Why)
			case now.Rest != old.Rest:
				t.Errorf("%s, containerd %s: more than config_path has changed:\n%s\n%s", name, l.Version, old.Rest, now.Rest)
			}
			baked++
		}
	}
	if baked < 20 {
		t.Errorf("%d nodes were baked; want 20 or more", baked)
	}
}
