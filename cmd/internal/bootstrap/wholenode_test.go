package bootstrap

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/mirrorcred/mirrorcred/cmd/internal/check"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts/containerdconfig"
	"github.com/mirrorcred/mirrorcred/systemd"
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

// named returns a file by the name that steps have for it: MicroK8s is told of by a
// link.
func (w *wholeNode) named(file string) string {
	return strings.Replace(file, "/var/snap/microk8s/7345/args/kubelet", "/var/snap/microk8s/current/args/kubelet", 1)
}

// isRefused holds that a phase is refused, with the file that has to change.
func (w *wholeNode) isRefused(name string, want layouts.Outcome, got []Refusal) {
	w.Helper()
	for _, r := range got {
		isAbout := func(word string) bool { return strings.Contains(r.String(), word) }
		if want.Refused != nil && strings.HasPrefix(r.String(), want.Refused[0]) && !slices.ContainsFunc(want.Refused, func(word string) bool { return !isAbout(word) }) {
			return
		}
	}
	w.Errorf("%s is refused with %v; want %q", name, got, want.Refused)
}

// untouched holds that no file has another time than it had, and that none came or
// went.
func (w *wholeNode) untouched(what string, before map[string]string) {
	w.Helper()
	now := times(w, w.root)
	for name, time := range now {
		if before[name] != time {
			w.Errorf("%s touches %s", what, name)
		}
	}
	if len(now) != len(before) {
		w.Errorf("%s: there are %d files; before there were %d", what, len(now), len(before))
	}
}

// files returns the text of each file of the node.
func (w *wholeNode) files() map[string]string {
	w.Helper()
	all := map[string]string{}
	for file := range times(w, w.root) {
		info, err := os.Lstat(file)
		if err != nil {
			w.Fatal(err)
		}
		name := strings.TrimPrefix(file, w.root)
		switch {
		case info.Mode()&os.ModeSymlink != 0:
			all[name], err = os.Readlink(file)
		case info.Mode().IsRegular():
			var data []byte
			data, err = os.ReadFile(file)
			all[name] = string(data)
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	return all
}

// isOwn reports whether a file that was not there is one that mirrorcred brings.
func (w *wholeNode) isOwn(name string) bool {
	m, err := node.New(w.root, "", false).ReadMap()
	if err != nil {
		w.Fatal(err)
	}
	for _, dir := range []string{plan.StateDir, m.Containerd.HostsDir, m.Kubelet.Config} {
		if name == dir || strings.HasPrefix(name, dir+"/") {
			return true
		}
	}
	return slices.Contains([]string{
		systemd.Program, path.Join(m.Kubelet.BinDir, Plugin), "/usr/local/share/man/man1/mirrorcred.1", "/etc/tmpfiles.d/mirrorcred.conf",
		"/etc/systemd/system/" + systemd.WatchUnit, "/etc/systemd/system/" + systemd.ApplyUnit,
		"/etc/systemd/system/mirrorcred.service.d/bootstrap.conf", wants + systemd.WatchUnit,
	}, name)
}

// onlyChanged holds that both phases left all other files of the node alone.
func (w *wholeNode) onlyChanged(before map[string]string) {
	w.Helper()
	now := w.files()
	for name, text := range before {
		if now[name] != text && !slices.Contains(w.node.Bake.Writes, name) && !slices.Contains(w.node.Join.Writes, name) {
			w.Errorf("%s was %q and is %q", name, text, now[name])
		}
	}
}

// hasFlags holds that the kubelet's command is what it was, with the two flags behind
// it if it had none.
func (w *wholeNode) hasFlags(before []string) {
	w.Helper()
	now := argvOf(w.root)
	_, had := kubelet.Flag(before, kubeletflags.ConfigFlag)
	if had || before == nil { // k3s, RKE2 and MicroK8s have no such unit
		if !slices.Equal(now, before) {
			w.Errorf("the kubelet's command was %q and is %q", before, now)
		}
	}
	// k3s and RKE2 set the flags once there is something for them to name.
	if w.node.Join.Refused == nil && (before != nil || w.node.Bake.Refused == nil) {
		checkFlags(w, w.root, before)
	}
}

// isHealthy holds what check finds after bake and join.
func (w *wholeNode) isHealthy() {
	w.Helper()
	want := leftToDo[w.node.Containerd.Name]
	var found []string
	for _, f := range check.Node(w.Context(), check.Options{Root: w.root}) {
		if f.Severity == doctor.Note {
			continue
		}
		found = append(found, f.Name)
		if f.Name != want.name || !strings.Contains(f.Repair, want.repair) {
			w.Errorf("check: %s %s: %s", f.Severity, f.Name, f.Finding)
		}
	}
	if want.name != "" && len(found) == 0 {
		w.Errorf("check finds nothing; want %s: %s", want.name, want.why)
	}
}

// TestEKSBoots boots a node of EKS after bake and join: nodeadm writes its files anew,
// with what both phases told it. Then bake and join do the rest, and nothing is left to
// find.
func TestEKSBoots(t *testing.T) {
	nodes, err := layouts.Nodes()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(nodes, func(n layouts.Node) bool { return n.Name == "EKS" })
	w := &wholeNode{T: t, node: nodes[at], root: t.TempDir(), program: program(t)}
	w.layOut()
	w.bake()
	w.join()

	var told struct {
		Spec struct {
			Kubelet    struct{ Flags []string }
			Containerd struct{ Config string }
		}
	}
	for _, name := range slices.Concat(w.node.Bake.Writes, w.node.Join.Writes) {
		if err := yaml.Unmarshal([]byte(w.files()[name]), &told); err != nil {
			t.Fatal(err)
		}
	}
	const config, flags = "/etc/containerd/config.toml", "/etc/eks/kubelet/environment"
	_, setting, ok := strings.Cut(told.Spec.Containerd.Config, "\n")
	if !ok || len(told.Spec.Kubelet.Flags) != 1 {
		t.Fatalf("nodeadm is told %+v", told)
	}
	const list = "config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"\n"
	write(t, w.root, config, strings.Replace(w.files()[config], list, setting, 1), 0o644)
	write(t, w.root, flags, w.files()[flags]+" "+told.Spec.Kubelet.Flags[0], 0o644)

	w.node.Containerd.Name = "EKS, booted" // nothing is left to do
	w.phase("bake", layouts.Outcome{}, w.planBake, w.bake)
	w.phase("join", layouts.Outcome{}, w.planJoin, w.join)
	w.isHealthy()
}

// leftToDo is what check rightly finds after bake and join, by containerd's half: the
// name of the only finding, its repair, and why it is there.
var leftToDo = map[string]struct{ name, repair, why string }{
	"aks-1.7":      {doctor.PauseImage, "mirrorcred pull --sandbox", whyPause},
	"aks-2.x":      {doctor.PauseImage, "mirrorcred pull --sandbox", whyPause},
	"aks-isolated": {doctor.PauseImage, "mirrorcred pull --sandbox", whyPause},
	"eks":          {containerdconfig.PathList, "reboot", "nodeadm sets config_path at the next boot, and until then no pull uses the mirror; see TestEKSBoots"},
}

const whyPause = "the map mirrors mcr.microsoft.com with a credential, which containerd does not have when it pulls the pause image. " +
	"AKS's images have it, but whether this one does is known on the machine only, where a pinned image ends the warning"
