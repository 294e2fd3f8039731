package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/kubelet"
	"github.com/mirrorcred/mirrorcred/cmd/internal/kubeletflags"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

const joinMap = `version = 1

[[mirror]]
source  = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
`

// joining returns the node below root, with programs to install.
func joining(t testing.TB, root string) *Joining {
	t.Helper()
	b := again(t, root, program(t))
	b.Mirrors.NoKubelet = false
	return &Joining{Baking: b}
}

// layOut makes the node of a layout, with a containerd that reads certs.d.
func layOut(t testing.TB, name, text string) string {
	t.Helper()
	root := t.TempDir()
	if err := layouts.Write(root, name); err != nil {
		t.Fatal(err)
	}
	write(t, root, "/etc/containerd/config.toml", "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n", 0o644)
	write(t, root, "/etc/mirrorcred/mirrors.toml", text, 0o644)
	write(t, root, "/etc/kubernetes/azure.json", "{}\n", 0o600)
	if err := os.MkdirAll(filepath.Join(root, "/var/lib"), 0o755); err != nil { // that of the state stays
		t.Fatal(err)
	}
	return root
}

// TestJoinLayouts joins a node of each layout twice and undoes that: a dry run
// changes nothing, the command of the kubelet gets its two flags, the second run
// changes no byte and no time, and in the end the tree is what it was.
func TestJoinLayouts(t *testing.T) {
	for _, name := range layouts.Names() {
		t.Run(name, func(t *testing.T) {
			root := layOut(t, name, joinMap)
			before, argv := tree(t, root), argvOf(root)
			j := joining(t, root)
			p, err := j.PlanJoin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if now := tree(t, root); now != before {
				t.Fatalf("planning changes the tree:\n%s", now)
			}
			if len(p.Refusals) > 0 {
				return // which they are is for the tests of kubeletflags
			}
			if _, applied, err := j.Join(t.Context(), p); err != nil || len(applied.Pending)+len(applied.Conflicts) > 0 {
				t.Fatal(err, applied.Pending, applied.Conflicts)
			}
			checkFlags(t, root, argv)
			rejoin(t, root)
			unjoin(t, root)
			if now := tree(t, root); now != before {
				t.Errorf("afterwards:\n%s\nbefore:\n%s", now, before)
			}
		})
	}
}

// argvOf returns the command of the kubelet by its unit, nil if it has none.
func argvOf(root string) []string {
	c, _ := unitfile.ReadCommand(node.New(root, "", false).Files(), "kubelet.service")
	return c.Argv
}

// checkFlags holds that the kubelet's flags name what is there, and that a command
// which had no such flag has the two and nothing else besides.
func checkFlags(t testing.TB, root string, before []string) {
	t.Helper()
	k, err := kubeletflags.Find(node.New(root, "", false).Files())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{k.Now.Config, filepath.Join(k.Now.BinDir, Plugin)} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("the kubelet would not start: %v", err)
		}
	}
	if _, had := kubelet.Flag(before, kubeletflags.ConfigFlag); had || before == nil {
		return
	}
	var rest []string
	for _, word := range argvOf(root) {
		if !strings.HasPrefix(word, "--image-credential-provider-") {
			rest = append(rest, word)
		}
	}
	if len(rest) != len(argvOf(root))-2 || !slices.Equal(rest, before) {
		t.Errorf("the command is %q; want %q and the two flags", argvOf(root), before)
	}
}

// rejoin joins once more, which must change nothing.
func rejoin(t *testing.T, root string) {
	t.Helper()
	first := times(t, root)
	j := joining(t, root)
	p, err := j.PlanJoin(t.Context())
	if err != nil || len(p.Steps())+len(p.Refusals) > 0 {
		t.Fatal(err, p.Steps(), p.Refusals)
	}
	if _, _, err := j.Join(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if now := times(t, root); !maps.Equal(now, first) {
		t.Errorf("the second run changes\n%v\nto\n%v", first, now)
	}
}

func unjoin(t *testing.T, root string) {
	t.Helper()
	j := joining(t, root)
	if u, err := j.Undo(t.Context()); err != nil || len(u.Kept)+len(u.Waiting) > 0 {
		t.Fatal(err, u)
	}
	p, kept, err := j.PlanUndo(t.Context())
	if err != nil || len(p.Steps)+len(kept) > 0 {
		t.Errorf("undo leaves %v, %v, %v", p.Steps, kept, err)
	}
}

// TestUndoReportsKept edits all that join wrote, so that undo leaves it alone, and checks
// that undo and its plan name each file.
func TestUndoReportsKept(t *testing.T) {
	root := layOut(t, "kubeadm-joined", joinMap)
	j := joining(t, root)
	p, err := j.PlanJoin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.Join(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	r, err := j.record()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, e := range r.Entries {
		at := filepath.Join(root, e.Path)
		switch info, err := os.Lstat(at); {
		case err != nil || parts[e.Part] != nil || info.IsDir():
			continue
		case info.Mode().IsRegular():
			write(t, root, e.Path, "another's", info.Mode())
		default:
			if err := errors.Join(os.Remove(at), os.Symlink("another's", at)); err != nil {
				t.Fatal(err)
			}
		}
		want = append(want, e.Path)
	}
	paths := func(list []Kept) []string {
		var names []string
		for _, one := range list {
			names = append(names, one.Path)
		}
		slices.Sort(names)
		return names
	}
	slices.Sort(want)
	_, kept, err := j.PlanUndo(t.Context())
	if got := paths(kept); err != nil || len(want) < 3 || !slices.Equal(got, want) {
		t.Errorf("the plan of undo keeps %q, %v; want %q", got, err, want)
	}
	u, err := j.Undo(t.Context())
	if got := paths(u.Kept); err != nil || !slices.Equal(got, want) {
		t.Errorf("undo keeps %q, %v; want %q", got, err, want)
	}
}

// killedAt has everything from the system call of that number on fail, as if the
// process were gone, and returns how many there were.
func killedAt(j *Joining, at int) *int {
	calls := new(int)
	j.disk.step = func(string, string) error {
		if *calls++; *calls > at {
			return errKilled
		}
		return nil
	}
	return calls
}

// TestJoinKilled kills join, and then undo, before each of their system calls. At
// any moment a kubelet that starts finds what its flags name; and the next run ends
// the work.
func TestJoinKilled(t *testing.T) {
	for at, more := 0, true; more; at++ {
		root := layOut(t, "kubeadm-joined", joinMap)
		before, argv := tree(t, root), argvOf(root)
		j := joining(t, root)
		calls := killedAt(j, at)
		if p, err := j.PlanJoin(t.Context()); err == nil {
			_, _, err = j.Join(t.Context(), p)
			if err != nil && !errors.Is(err, errKilled) {
				t.Fatal(at, err)
			}
		}
		more = *calls > at
		startable(t, root, at)
		j = joining(t, root)
		p, err := j.PlanJoin(t.Context())
		if err != nil || len(p.Refusals) > 0 {
			t.Fatal(at, err, p.Refusals)
		}
		if _, _, err := j.Join(t.Context(), p); err != nil {
			t.Fatal(at, err)
		}
		checkFlags(t, root, argv)

		j = joining(t, root)
		calls = killedAt(j, at)
		if _, err := j.Undo(t.Context()); err != nil && !errors.Is(err, errKilled) {
			t.Fatal(at, err)
		}
		more = more || *calls > at
		startable(t, root, at)
		unjoin(t, root)
		if now := tree(t, root); now != before {
			t.Fatalf("killed at %d:\n%s\nbefore:\n%s", at, now, before)
		}
	}
}

// startable holds that the kubelet's flags, if it has any, name what is there.
func startable(t *testing.T, root string, at int) {
	t.Helper()
	argv := argvOf(root)
	config, has := kubelet.Flag(argv, kubeletflags.ConfigFlag)
	binDir, _ := kubelet.Flag(argv, kubeletflags.BinDirFlag)
	if !has {
		return
	}
	for _, name := range []string{config, filepath.Join(binDir, Plugin)} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("killed at %d: the kubelet would not start: %v", at, err)
		}
	}
}

// TestJoinRestarts restarts a kubelet that runs once, after its flags are there, and
// not again if nothing has changed. The watcher is not waited for: it waits for this
// run.
func TestJoinRestarts(t *testing.T) {
	root := layOut(t, "kubeadm-environment", joinMap)
	var ran []string
	join := func() {
		j := joining(t, root)
		j.offline = false
		j.Running = func() (string, bool, error) { return "kubelet.service", true, nil }
		j.run = func(_ context.Context, command []string) error {
			if command[1] == "restart" {
				checkFlags(t, root, nil)
			}
			ran = append(ran, strings.Join(command, " "))
			return nil
		}
		p, err := j.PlanJoin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := j.Join(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	join()
	want := []string{
		"systemctl daemon-reload", "systemd-tmpfiles --create /etc/tmpfiles.d/mirrorcred.conf",
		"systemctl daemon-reload", "systemctl restart kubelet.service", "systemctl start --no-block mirrorcred.service",
	}
	if !slices.Equal(ran, want) {
		t.Errorf("ran\n%s\nwant\n%s", strings.Join(ran, "\n"), strings.Join(want, "\n"))
	}
	ran = nil
	if join(); len(ran) > 0 {
		t.Errorf("the second run ran %q", ran)
	}
}

// BenchmarkJoin is join if there is nothing to do, with 100 mirrors.
func BenchmarkJoin(b *testing.B) {
	text := "version = 1\n"
	for i := range 100 {
		text += fmt.Sprintf("[[mirror]]\nsource = \"s%d.example\"\ntargets = [\"contoso.azurecr.io/p%d\"]\n", i, i)
	}
	root := layOut(b, "kubeadm-joined", text)
	join := func() {
		j := joining(b, root)
		p, err := j.PlanJoin(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := j.Join(b.Context(), p); err != nil {
			b.Fatal(err)
		}
	}
	began := time.Now()
	join()
	first := time.Since(began)
	for b.Loop() {
		join()
	}
	b.ReportMetric(float64(first.Milliseconds()), "first-ms")
}
