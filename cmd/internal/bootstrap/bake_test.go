package bootstrap

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	layouts "github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts/containerd"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// theMap is the map of the tests, without the lines of a layout.
const theMap = `version = 1
[[mirror]]
source = "docker.io"
targets = ["harbor.example/hub"]
`

// program is a stand-in of the manager, with the plugin beside it.
func program(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "mirrorcred", "the manager", 0o755)
	write(t, dir, Plugin, "the plugin", 0o755)
	return filepath.Join(dir, "mirrorcred")
}

// baking returns the baking of a layout's node with a containerd version.
func baking(t testing.TB, l layouts.Layout, version, program string) *Baking {
	t.Helper()
	root := t.TempDir()
	if err := l.Write(root); err != nil {
		t.Fatal(err)
	}
	text := theMap
	switch {
	case version == "":
		text += l.Map
	case strings.Contains(l.Map, "[containerd]\n"):
		text += strings.Replace(l.Map, "[containerd]\n", "[containerd]\nversion = \""+version+"\"\n", 1)
	default:
		text += "[containerd]\nversion = \"" + version + "\"\n" + l.Map
	}
	write(t, root, node.DefaultMap, text, 0o644)
	if err := os.MkdirAll(filepath.Join(root, "/var/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	return again(t, root, program)
}

// again returns another baking of a node.
func again(t testing.TB, root, program string) *Baking {
	t.Helper()
	b := &Baking{Node: New(root), Mirrors: node.New(root, "", false), Program: program,
		Extras: []Extra{{"/usr/local/share/man/man1/mirrorcred.1", "the manual page", []byte("manual")}}}
	b.Mirrors.NoKubelet = true
	return b
}

// bake bakes, with --adopt if adopt says so.
func bake(t testing.TB, b *Baking, adopt bool) (BakePlan, plan.Plan) {
	t.Helper()
	b.Adopt, b.Mirrors.Adopt = adopt, adopt
	p, err := b.PlanBake(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Refusals) > 0 {
		return p, plan.Plan{}
	}
	release, err := b.Mirrors.Hold(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	_, applied, err := b.Bake(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return p, applied
}

// kindOf says what a plan does about containerd's configuration.
func kindOf(p BakePlan) string {
	kind := "nothing"
	for _, s := range p.Steps {
		switch {
		case s.Path == nodeadmFile:
			kind = "nodeadm"
		case s.Part == partBlock:
			kind = "block"
		case strings.HasSuffix(s.Path, "/"+dropIn):
			kind = "drop-in"
		case strings.HasSuffix(s.Path, ".toml") && s.New != nil && strings.HasPrefix(string(s.New.Data), newHeader):
			kind = "created"
		}
	}
	if len(p.Refusals) > 0 {
		kind = "refused"
		for _, r := range p.Refusals {
			kind += " " + r.String()
		}
	}
	return kind
}

// TestLayouts bakes each layout twice and undoes it: what is done is what the
// layout says, the second run changes nothing, and undo gives the tree back.
func TestLayouts(t *testing.T) {
	all, err := layouts.All()
	if err != nil || len(all) < 25 {
		t.Fatal(len(all), err)
	}
	from := program(t)
	for _, l := range all {
		for _, version := range l.Containerd {
			t.Run(l.Name+" "+version, func(t *testing.T) {
				b := baking(t, l, version, from)
				first := tree(t, b.Root)
				p, applied := bake(t, b, false)
				if want, words, _ := strings.Cut(l.Bake, " "); !strings.HasPrefix(kindOf(p), want) || !strings.Contains(kindOf(p), words) {
					t.Fatalf("%s; want %s", kindOf(p), l.Bake)
				}
				if len(p.Refusals) > 0 {
					if now := tree(t, b.Root); now != first {
						t.Fatalf("something is written although it was refused:\n%s\n%s", now, first)
					}
					if l.Adopt == "" {
						return
					}
					if p, applied = bake(t, b, true); kindOf(p) != l.Adopt {
						t.Fatalf("with --adopt: %s; want %s", kindOf(p), l.Adopt)
					}
				}
				if len(p.Waiting) == 0 && applied.Sources != 1 {
					t.Errorf("applied %+v", applied)
				}
				checkAgain(t, b)
				checkUndo(t, b, first)
			})
		}
	}
}

// checkAgain holds that another run changes not one byte or time.
func checkAgain(t *testing.T, b *Baking) {
	t.Helper()
	before := times(t, b.Root)
	p, applied := bake(t, again(t, b.Root, b.Program), b.Adopt)
	if len(p.Steps) > 0 || len(p.Refusals) > 0 || len(applied.Changes) > 0 {
		t.Errorf("the second run: %v, %v, %v", p.Steps, p.Refusals, applied.Changes)
	}
	for name, time := range times(t, b.Root) {
		if before[name] != time {
			t.Errorf("the second run touches %s", name)
		}
	}
}

// times returns when each file below a root was changed.
func times(t testing.TB, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		all[path] = info.ModTime().String()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// checkUndo holds that undo gives the tree back.
func checkUndo(t testing.TB, b *Baking, want string) {
	t.Helper()
	kept, waiting, err := undoAll(t, again(t, b.Root, b.Program))
	if err != nil || len(kept) > 0 || len(waiting) > 0 {
		t.Errorf("undo: %v, %v, %v", kept, waiting, err)
	}
	if now := tree(t, b.Root); now != want {
		t.Errorf("after undo:\n%s\nbefore:\n%s", now, want)
	}
	if entries, err := os.ReadDir(filepath.Join(b.Root, plan.StateDir)); err == nil {
		t.Errorf("%s is still there, with %v", plan.StateDir, entries)
	}
}

// undoAll undoes everything, as the command does.
func undoAll(t testing.TB, b *Baking) (kept []Kept, waiting []string, err error) {
	t.Helper()
	release, err := b.Mirrors.Hold(t.Context())
	if err != nil {
		return nil, nil, err
	}
	defer release()
	u, err := (&Joining{Baking: b}).Undo(t.Context())
	return u.Kept, u.Waiting, err
}

// TestForgetRemovesTokens holds that undo leaves neither the tokens that the plugin
// has cached nor its log.
func TestForgetRemovesTokens(t *testing.T) {
	b := baking(t, layoutOf(t, "kops-mirrors"), "2.3", program(t))
	write(t, b.Root, "/var/log/syslog", "another's\n", 0o600)
	write(t, b.Root, "/run/another", "another's\n", 0o600)
	before := tree(t, b.Root)
	bake(t, b, false)
	write(t, b.Root, runDir+"/tokens/0123", "a token\n", 0o600)
	write(t, b.Root, logDir+"/plugin.jsonl", "{}\n", 0o600)
	checkUndo(t, b, before)
	for _, dir := range []string{runDir, logDir} {
		if f, err := b.Observe(dir); err != nil || f != nil {
			t.Errorf("%s is still there, %v", dir, err)
		}
	}
}

// TestForgetKeepsCopies holds that undo keeps the copy of a file that apply replaced
// before bake, which knows nothing of it.
func TestForgetKeepsCopies(t *testing.T) {
	b := baking(t, layoutOf(t, "kops-mirrors"), "2.3", program(t))
	const saved = plan.SavedDir + "/quay.io-0123456789ab.toml"
	bake(t, b, false)
	write(t, b.Root, saved, "another's\n", 0o600)
	b = again(t, b.Root, b.Program)
	if kept, waiting, err := undoAll(t, b); err != nil || len(kept)+len(waiting) > 0 {
		t.Fatal(kept, waiting, err)
	}
	if f, err := b.Observe(saved); err != nil || f == nil || string(f.Data) != "another's\n" {
		t.Errorf("the copy is %v, %v", f, err)
	}
	if entries, err := os.ReadDir(filepath.Join(b.Root, plan.StateDir)); err != nil || len(entries) != 1 {
		t.Errorf("there are %v, %v; want the copies only", entries, err)
	}
}
