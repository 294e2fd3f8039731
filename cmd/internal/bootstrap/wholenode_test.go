package bootstrap

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestWholeNodes takes each node of nodes.txt through its life: a dry run of each
// phase, bake, bake, join, join, check, undo.
//
//   - A dry run changes nothing, and a phase that is refused neither.
//   - A phase changes one file of the node, or none: the one that nodes.txt names. All
//     other files that appear are mirrorcred's own.
//   - The second run changes not one byte or time.
//   - The kubelet's command is the old one with the two flags; if it had them, the old
//     one.
//   - check then finds nothing but what is left to do elsewhere; see leftToDo.
//   - After undo the tree is what it was.
//
// That containerd itself reads the map's directory then, and nothing else differently,
// is for e2e/config, where each line's own loader is asked.
func TestWholeNodes(t *testing.T) {
	nodes, err := layouts.Nodes()
	if err != nil || len(nodes) < 40 {
		t.Fatalf("%d nodes, %v; want 40 or more", len(nodes), err)
	}
	from := program(t)
	for _, n := range nodes {
		t.Run(n.Name, func(t *testing.T) {
			t.Parallel()
			w := &wholeNode{T: t, node: n, root: t.TempDir(), program: from}
			w.layOut()
			first, argv := tree(t, w.root), argvOf(w.root)
			before := w.files()

			w.phase("bake", n.Bake, w.planBake, w.bake)
			w.phase("join", n.Join, w.planJoin, w.join)
			w.hasFlags(argv)
			w.onlyChanged(before)
			if n.Bake.Refused == nil && n.Join.Refused == nil {
				w.isHealthy()
			}
			checkUndo(t, again(t, w.root, from), first)
		})
	}
}

// A wholeNode is a node of nodes.txt below a root.
type wholeNode struct {
	*testing.T
	node          layouts.Node
	root, program string
}

// layOut writes the node's files, and its map.
func (w *wholeNode) layOut() {
	w.Helper()
	if err := w.node.Write(w.root); err != nil {
		w.Fatal(err)
	}
	text := "version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"harbor.example/hub\"]\n[registry.\"harbor.example\"]\ncredential = \"anonymous\"\n"
	if strings.HasPrefix(w.node.Kubelet, "aks") {
		text = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"contoso.azurecr.io/aks\"]\n"
		write(w, w.root, "/etc/kubernetes/azure.json", `{"useManagedIdentityExtension": true}`, 0o600)
	}
	if w.node.Version != "" {
		version := "[containerd]\nversion = \"" + w.node.Version + "\"\n"
		if rest, ok := strings.CutPrefix(w.node.Containerd.Map, "[containerd]\n"); ok {
			text += version + rest
		} else {
			text += version + w.node.Containerd.Map
		}
	} else {
		text += w.node.Containerd.Map
	}
	write(w, w.root, node.DefaultMap, text, 0o644)
	if err := os.MkdirAll(filepath.Join(w.root, "/var/lib"), 0o755); err != nil {
		w.Fatal(err)
	}
}

// joining returns the node, as the program sees it.
func (w *wholeNode) joining() *Joining {
	j := &Joining{Baking: again(w, w.root, w.program)}
	j.Mirrors.NoKubelet = false
	j.Adopt, j.Mirrors.Adopt = w.node.Adopt, w.node.Adopt
	return j
}

// A planned is what a dry run of a phase says: the refusals and the steps, those of
// the mirrors among them.
type planned struct {
	refusals []Refusal
	steps    []string
}

func (w *wholeNode) planBake() planned {
	p, err := w.joining().PlanBake(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return planned{p.Refusals, pathsIn(p.Steps, p.Mirrors)}
}

func (w *wholeNode) planJoin() planned {
	p, err := w.joining().PlanJoin(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return planned{p.Refusals, pathsIn(p.Steps(), p.Mirrors)}
}

// pathsIn returns the files that a plan changes.
func pathsIn(steps []Step, mirrors plan.Plan) []string {
	var list []string
	for _, s := range steps {
		if s.Path != "" && !s.IsDir() {
			list = append(list, s.Path)
		}
	}
	for _, c := range mirrors.Changes {
		list = append(list, c.Path)
	}
	return list
}

func (w *wholeNode) bake() {
	w.Helper()
	bake(w, again(w, w.root, w.program), w.node.Adopt)
}

func (w *wholeNode) join() {
	w.Helper()
	j := w.joining()
	p, err := j.PlanJoin(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	release, err := j.Mirrors.Hold(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	defer release()
	if _, _, err := j.Join(w.Context(), p); err != nil {
		w.Fatal(err)
	}
}

// phase runs a phase: dry, and then twice.
func (w *wholeNode) phase(name string, want layouts.Outcome, dry func() planned, run func()) {
	w.Helper()
	before, first := w.files(), times(w, w.root)
	p := dry()
	w.untouched(name+" -n", first)
	if len(p.refusals) > 0 || want.Refused != nil {
		w.isRefused(name, want, p.refusals)
		return
	}
	run()
	var changed []string
	for file, text := range w.files() {
		old, was := before[file]
		isState := strings.HasPrefix(file, plan.StateDir)
		if was && old != text && !isState || !was && !w.isOwn(file) {
			changed = append(changed, file)
		}
		if (!was || old != text) && !isState && !slices.Contains(p.steps, w.named(file)) {
			w.Errorf("%s changes %s, which its dry run does not say", name, file)
		}
	}
	slices.Sort(changed)
	if !slices.Equal(changed, slices.Sorted(slices.Values(want.Writes))) {
		w.Errorf("%s changes %q; want %q", name, changed, want.Writes)
	}
	second := times(w, w.root)
	run()
	w.untouched("the second "+name, second)
	if left := dry(); len(left.steps)+len(left.refusals) > 0 {
		w.Errorf("%s is never done: %v, %v", name, left.steps, left.refusals)
	}
}

const whyPause = "the map mirrors mcr.microsoft.com with a credential, which containerd does not have when it pulls the pause image. " +
	"AKS's images have it, but whether this one does is known on the machine only, where a pinned image ends the warning"
