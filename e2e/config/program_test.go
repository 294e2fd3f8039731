package config

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/e2e/build"
)

// What the program needs of a tree besides containerd's files.
const (
	mapFile     = "/etc/mirrorcred/mirrors.toml"
	mapText     = "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"harbor.example.com\"]\n[registry.\"harbor.example.com\"]\ncredential = \"harbor\"\n[credential.harbor]\nkind = \"docker-config\"\npath = \"/etc/mirrorcred/harbor.json\"\n[containerd]\n"
	secretFile  = "/etc/mirrorcred/harbor.json"
	secretText  = `{"auths": {"harbor.example.com": {"username": "u", "password": "p"}}}`
	pluginFile  = "/var/lib/kubelet/credential-provider/mirror-credential-provider"
	routesGlob  = "/var/lib/mirrorcred/routes/*"
	stoppedFile = "/run/mirrorcred/stopped"
)

// The program itself, below another root, arms a tree where containerd reads
// exactly mirrorcred's directory, and no other.
func TestProgram(t *testing.T) {
	loaders, examples := startLoaders(t), readExamples(t)
	bin, dir := t.TempDir(), t.TempDir()
	if err := build.Ours(t.Context(), "../..", bin, os.Stderr, "./cmd/mirrorcred"); err != nil {
		t.Fatal(err)
	}
	seed := seedOf(t)
	g := NewGenerator(seed, examples)
	var trees []*Tree
	for len(trees) < *programFlag {
		trees = append(trees, g.Next())
	}
	for i, e := range examples {
		if i%5 == int(seed%5) {
			trees = append(trees, e.Tree)
		}
	}
	all, err := judge(dir, loaders, someTimes, trees...)
	if err != nil {
		t.Fatal(err)
	}
	armed, right := 0, 0
	for _, j := range all {
		said := map[string]string{}
		if err := j.askProgram(bin, filepath.Join(dir, "tree"), said); err != nil {
			t.Fatal(err)
		}
		if j.faulty() {
			again, err := judge(dir, loaders, manyTimes, j.tree)
			if err != nil {
				t.Fatal(err)
			}
			j.theirs = again[0].theirs
		}
		if j.anyLine {
			armed++
		}
		for _, version := range append([]string{""}, versions...) {
			their := j.theirs[version]
			if their.Reads() {
				right++
			}
			if j.ours[version].armed {
				armed++
			}
			if fault := j.fault(version); fault != "" {
				t.Errorf("containerd %q: %s; it reads %q %s\n%s\n%s", version, fault, their, their.Why, said[version], j.tree)
			}
			if j.ours[version].armed && their.Disabled && !strings.Contains(said[version], "so the kubelet can pull no image at all") {
				t.Errorf("containerd %q: the CRI is disabled, and that is not said\n%s\n%s", version, said[version], j.tree)
			}
		}
	}
	t.Logf("%d trees, armed %d times; a version that is known reads our directory %d times", len(all), armed, right)
	if armed < len(all)/2 {
		t.Errorf("armed %d times in %d trees; want more, or this holds nothing", armed, len(all))
	}
}

// askProgram has the program say what mirrorcred does with a tree, for each version and
// for one that is not known.
func (j *judged) askProgram(bin, root string, said map[string]string) error {
	j.ours = map[string]opinion{}
	for _, version := range append([]string{""}, versions...) {
		armed, text, err := apply(bin, root, j.tree, version)
		if err != nil {
			return err
		}
		said[version] = text
		if version == "" {
			j.anyLine = armed
		} else {
			j.ours[version] = opinion{armed: armed, anyAnswer: true}
		}
	}
	return nil
}

// apply writes a tree, has mirrorcred apply a map to it that names the version,
// and reports whether a credential may be returned there.
func apply(bin, root string, tree *Tree, version string) (armed bool, said string, err error) {
	if err := os.RemoveAll(root); err != nil {
		return false, "", err
	}
	if err := tree.Write(root); err != nil {
		return false, "", err
	}
	text := mapText
	if version != "" {
		text += fmt.Sprintf("version = %q\n", version)
	}
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{mapFile: {text, 0o644}, secretFile: {secretText, 0o600}, pluginFile: {"", 0o755}} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return false, "", err
		}
		if err := os.WriteFile(path, []byte(file.text), file.mode); err != nil {
			return false, "", err
		}
	}
	out, _ := exec.Command(filepath.Join(bin, "mirrorcred"), "apply", "--root", root).CombinedOutput()
	routes, err := filepath.Glob(filepath.Join(root, routesGlob))
	_, stopped := os.Lstat(filepath.Join(root, stoppedFile))
	return len(routes) > 0 && os.IsNotExist(stopped), string(out), err
}
