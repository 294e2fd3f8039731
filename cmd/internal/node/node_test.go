package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A fake is a machine whose time and kubelets a test sets.
type fake struct {
	moment plan.Moment
	run    []plan.Process
	unseen string // why a kubelet may run that is not seen
	is     string // the kubelet's version, "" if it does not say
	// root is where the kubelet finds its configuration, and read what the
	// last one that started found there.
	root string
	read []byte
	// clock is the wall clock; nil for one by which all files are old.
	clock func() time.Time
	// changes are the moments in which a change of a file was first seen.
	changes map[time.Time]plan.Moment
	// changed are when files were changed, by their path on the node.
	changed map[string]plan.Moment
	// set says that the wall clock was set, and dating how far the times of files
	// count.
	set    bool
	dating plan.Dating
}

func (f *fake) now() (plan.Moment, error)                 { return f.moment, nil }
func (f *fake) kubelets() ([]plan.Process, string, error) { return f.run, f.unseen, nil }
func (f *fake) when(t time.Time) (plan.Moment, error) {
	if f.changes == nil {
		f.changes = map[time.Time]plan.Moment{}
	}
	if _, ok := f.changes[t]; !ok {
		f.changes[t] = f.moment
	}
	return f.changes[t], nil
}
func (f *fake) wall() time.Time {
	if f.clock == nil {
		return time.Now().Add(time.Hour)
	}
	return f.clock()
}
func (f *fake) changedSince(path string, k plan.Process) (bool, error) {
	at, ok := f.changed[strings.TrimPrefix(path, f.root)]
	return ok && k.Started.Before(at), nil
}
func (f *fake) clockSet(bool) bool             { return f.set }
func (f *fake) dated(plan.Process) plan.Dating { return f.dating }
func (f *fake) version(plan.Process) (string, error) {
	if f.is == "" {
		return "", errors.New("it does not say")
	}
	return f.is, nil
}
func (f *fake) after(d time.Duration) { f.moment.Since += d }
func (f *fake) reboot() {
	f.moment = plan.Moment{Boot: f.moment.Boot + "'", Since: time.Minute}
	f.run = nil
}
func (f *fake) startKubelet(args ...string) { f.start(false, args) }
func (f *fake) start(e bool, args []string) { f.run = []plan.Process{f.process(e, args)} }
func (f *fake) process(e bool, a []string) plan.Process {
	if v, err := versionOf(nil, filepath.Join(f.root, kubeletFile)); err == nil {
		_, _ = f.when(v.Changed)
	}
	f.after(time.Second)
	f.read, _ = os.ReadFile(filepath.Join(f.root, kubeletFile))
	p := plan.Process{PID: 100, Started: f.moment, Args: append([]string{"/usr/bin/kubelet"}, a...), Embedded: e}
	f.after(time.Second)
	return p
}

// theFlags are those that a kubelet has to run with.
var theFlags = []string{
	"--image-credential-provider-config=/var/lib/kubelet/credential-provider-config.yaml",
	"--image-credential-provider-bin-dir", "/var/lib/kubelet/credential-provider/",
}

// Maps of the tests: one mirror with a credential, and one without.
const (
	oneMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
`
	otherMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["fabrikam.azurecr.io"]
`
	anonymousMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["mirror.example"]
`
	emptyMap = "version = 1\n"
)

// newNode returns a node in a directory of its own that is taken for this
// machine, ready for maps: no kubelet runs.
func newNode(t testing.TB, text string) (*Node, *fake) {
	t.Helper()
	host := &fake{moment: plan.Moment{Boot: "boot", Since: time.Hour}, is: "1.36.3"}
	n := &Node{Root: t.TempDir(), host: host}
	host.root = n.Root
	n.Map = n.path(DefaultMap)
	write(t, n.path("/etc/containerd/config.toml"), "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '/etc/containerd/certs.d'\n")
	for _, plugin := range []string{plan.PluginName, mirror.Stock} {
		name := n.path("/var/lib/kubelet/credential-provider", plugin)
		write(t, name, "#!/bin/sh\n")
		if err := os.Chmod(name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, n.Map, text)
	return n, host
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func apply(t testing.TB, n *Node) plan.Plan {
	t.Helper()
	todo, err := n.Apply(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return todo
}

// applyMap writes a map and applies it.
func applyMap(t testing.TB, n *Node, text string) plan.Plan {
	t.Helper()
	write(t, n.Map, text)
	return apply(t, n)
}

// summary says what a plan leaves undone, a line each.
func summary(p plan.Plan) string {
	var b strings.Builder
	for _, w := range p.Pending {
		b.WriteString("pending " + w.Source + ": " + w.Reason + "\n")
	}
	for _, w := range p.Draining {
		b.WriteString("draining " + w.Source + ": " + w.Reason + "\n")
	}
	for _, l := range p.Conflicts {
		b.WriteString("left " + l.Path + ": " + l.Reason + "\n")
	}
	return b.String()
}

// wantLeft fails unless what a plan leaves undone begins with the text; ""
// stands for nothing.
func wantLeft(t testing.TB, p plan.Plan, want string) {
	t.Helper()
	got := summary(p)
	if !strings.HasPrefix(got, want) || want == "" && got != "" {
		t.Errorf("the plan leaves:\n%swant: %s", got, want)
	}
}

// hostsOf returns the hosts.toml of a namespace, "" if there is none.
func hostsOf(t testing.TB, n *Node, namespace string) string {
	t.Helper()
	return hostsIn(t, n, treeOf(t, n), namespace)
}

// trees are the directories that a test may have containerd read.
var trees = []string{certsDir, "/srv/certs.d"}

// treeOf returns which of them containerd's configuration names.
func treeOf(t testing.TB, n *Node) string {
	t.Helper()
	data, err := os.ReadFile(n.path("/etc/containerd/config.toml"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if _, rest, ok := strings.Cut(string(data), "config_path = '"); ok {
		if dir, _, _ := strings.Cut(rest, "'"); slices.Contains(trees, dir) {
			return dir
		}
	}
	return certsDir
}

func hostsIn(t testing.TB, n *Node, tree, namespace string) string {
	t.Helper()
	data, err := os.ReadFile(n.path(tree, namespace, "hosts.toml"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

func wantRouted(t testing.TB, n *Node, namespace, target string) {
	t.Helper()
	if got := hostsOf(t, n, namespace); target == "" && got != "" || !strings.Contains(got, target) {
		t.Errorf("hosts.toml of %s = %q; want one that names %q", namespace, got, target)
	}
}

// tree returns the files below a directory with their modes and contents, the
// state left out if it is not wanted: moments are in it.
func tree(t testing.TB, dir string, withState bool) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !withState && strings.HasSuffix(path, "/state.json") {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		text := info.Mode().String()
		if e.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += "\n" + string(data)
		}
		if to, err := os.Readlink(path); err == nil {
			text += " " + to
		}
		files[strings.TrimPrefix(path, dir)] = text
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// sameTree fails if two trees differ.
func sameTree(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path, text := range want {
		if other, ok := got[path]; !ok {
			t.Errorf("%s is gone", path)
		} else if other != text {
			t.Errorf("%s = %q; want %q", path, other, text)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is there; want it not to be", path)
		}
	}
}
