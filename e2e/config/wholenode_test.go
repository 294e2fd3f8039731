package config

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/mirrorcred/mirrorcred/e2e/build"
)

const layoutsDir = "../../cmd/internal/nodetest/layouts/"

// TestWholeNodes takes each node of nodes.txt through bake, join and undo with the
// built program, and asks the loader of its containerd after each. After bake and join
// the config_path is the map's hosts_dir, and nothing else in the effective
// configuration has changed; if bake is refused, and after undo, it is what it was.
//
// The rest of what is true of these nodes is held by the test of the same name in
// cmd/internal/bootstrap.
func TestWholeNodes(t *testing.T) {
	loaders := startLoaders(t)
	bin := t.TempDir()
	if err := build.Ours(t.Context(), "../..", bin, os.Stderr, "./cmd/mirrorcred", "./cmd/mirror-credential-provider"); err != nil {
		t.Fatal(err)
	}
	rows, err := readNodes()
	if err != nil || len(rows) < 40 {
		t.Fatalf("%d nodes, %v; want 40 or more", len(rows), err)
	}
	asked := 0
	for _, n := range rows {
		for _, l := range loaders {
			// If the version is not known, the node is right for all of them.
			if strings.HasPrefix(l.Version, n.version) {
				t.Run(n.name+", "+l.Version, func(t *testing.T) { n.check(t, l, bin) })
				asked++
			}
		}
	}
	if asked < 50 {
		t.Errorf("the loaders were asked about %d nodes; want 50 or more", asked)
	}
}

// A wholeNode is a line of nodes.txt, with the files of both halves.
type wholeNode struct {
	name, version string
	adopt         bool
	isRefused     bool // bake
	waits         bool // nodeadm sets config_path at the next boot
	files         []txtar.File
	mapLines      string
	config, dir   string // of containerd
}

// readNodes reads nodes.txt.
func readNodes() ([]wholeNode, error) {
	data, err := os.ReadFile(layoutsDir + "nodes.txt")
	if err != nil {
		return nil, err
	}
	var all []wholeNode
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.HasPrefix(line, "#") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		n := wholeNode{name: cells[0], version: cells[3], adopt: cells[4] == "--adopt", isRefused: strings.HasPrefix(cells[5], "refused "), waits: strings.HasPrefix(cells[5], "/etc/eks/")}
		for _, name := range []string{"containerd/testdata/" + cells[2], cells[1]} {
			half, err := txtar.ParseFile(layoutsDir + name + ".txtar")
			if err != nil {
				return nil, err
			}
			n.files = append(n.files, half.Files...)
			for line := range strings.Lines(string(half.Comment)) {
				if text, ok := strings.CutPrefix(line, "map: "); ok {
					n.mapLines += text
				}
			}
		}
		if err := n.readMap(); err != nil {
			return nil, fmt.Errorf("%s: %w", n.name, err)
		}
		all = append(all, n)
	}
	return all, nil
}

// readMap finds where containerd's files are, and completes the lines of the map.
func (n *wholeNode) readMap() error {
	if !strings.Contains(n.mapLines, "[containerd]\n") {
		n.mapLines = "[containerd]\n" + n.mapLines
	}
	if n.version != "" {
		n.mapLines = strings.Replace(n.mapLines, "[containerd]\n", "[containerd]\nversion = \""+n.version+"\"\n", 1)
	}
	var m struct {
		Containerd struct {
			Config   string `toml:"config"`
			HostsDir string `toml:"hosts_dir"`
		} `toml:"containerd"`
	}
	err := toml.Unmarshal([]byte(n.mapLines), &m)
	n.config, n.dir = cmp.Or(m.Containerd.Config, Main), cmp.Or(m.Containerd.HostsDir, Dir)
	return err
}

// check takes the node through its life, and asks a loader.
func (n wholeNode) check(t *testing.T, l *Loader, bin string) {
	root := t.TempDir()
	if err := n.write(root); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (string, bool) {
		t.Helper()
		args = append([]string{"bootstrap", args[0], "--root", root}, args[1:]...)
		if n.adopt && args[1] != "undo" {
			args = append(args, "--adopt")
		}
		out, err := exec.Command(filepath.Join(bin, "mirrorcred"), args...).CombinedOutput()
		return string(out), err == nil
	}
	old := n.ask(t, l, root)
	for _, dry := range []string{"bake", "join"} {
		run(dry, "-n")
	}
	if got := n.ask(t, l, root); got.full() != old.full() || got.Rest != old.Rest {
		t.Errorf("after a dry run: %s; before: %s", got, old)
	}
	out, done := run("bake")
	if done == n.isRefused {
		t.Fatalf("bake: %s", out)
	}
	run("bake")
	run("join")
	run("join")
	now := n.ask(t, l, root)
	isSame := now.full() == old.full()
	switch {
	case (n.isRefused || n.waits) && !isSame:
		t.Errorf("it was %s and is %s, although bake is refused or waits: %s", old, now, out)
	case !n.isRefused && !n.waits && (!now.pulls() || now.Varies || now.ConfigPath != n.dir):
		t.Errorf("containerd has config_path %q and says %q; want %q", now.ConfigPath, now.Why, n.dir)
	}
	if now.Rest != old.Rest {
		t.Errorf("more than config_path has changed:\n%s\n%s", old.Rest, now.Rest)
	}
	if out, ok := run("undo"); !ok {
		t.Errorf("undo: %s", out)
	}
	if back := n.ask(t, l, root); back.full() != old.full() || back.Rest != old.Rest {
		t.Errorf("after undo: %s; before: %s", back, old)
	}
}

// ask asks a loader about the node. The loader reads the usual file, so that there is a
// link to that of the node meanwhile.
func (n wholeNode) ask(t *testing.T, l *Loader, root string) Verdict {
	t.Helper()
	if n.config != Main {
		link := filepath.Join(root, Main)
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(n.config, link); err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(filepath.Dir(link))
	}
	all, err := l.AskAgain(someTimes, root)
	if err != nil {
		t.Fatal(err)
	}
	return all[0]
}

// write writes the node below a root: containerd's half, then the kubelet's, and the
// map.
func (n wholeNode) write(root string) error {
	source := "docker.io"
	if strings.HasPrefix(n.name, "AKS") {
		source = "mcr.microsoft.com"
	}
	text := "version = 1\n[[mirror]]\nsource = \"" + source + "\"\ntargets = [\"harbor.example/hub\"]\n[registry.\"harbor.example\"]\ncredential = \"anonymous\"\n" + n.mapLines
	files := append(slices.Clone(n.files), txtar.File{Name: mapFile, Data: []byte(text)}, txtar.File{Name: "/var/lib/.keep"})
	for _, f := range files {
		words := strings.Fields(f.Name)
		name := filepath.Join(root, words[0])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		var err error
		if len(words) == 3 {
			err = os.Symlink(words[2], name)
		} else {
			err = os.WriteFile(name, f.Data, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
