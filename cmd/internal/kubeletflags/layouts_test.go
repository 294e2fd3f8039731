package kubeletflags

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts"
	"github.com/mirrorcred/mirrorcred/systemd/unitfile"
)

// tree is the files of a node by path.
type tree map[string]string

func (t tree) ReadFile(name string) ([]byte, error) {
	text, ok := t[name]
	switch {
	case !ok:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	case text == "unreadable":
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return []byte(text), nil
}

func (t tree) Glob(pattern string) ([]string, error) {
	var list []string
	for name := range t {
		if ok, err := path.Match(pattern, name); err != nil {
			return nil, err
		} else if ok {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list, nil
}

// layout returns the files of a layout.
func layoutFiles(t testing.TB, name string) tree {
	t.Helper()
	files, err := layouts.Files(name)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// defaults are the paths of a map that names none.
var defaults = Paths{"/var/lib/kubelet/credential-provider-config.yaml", "/var/lib/kubelet/credential-provider"}

// asked are what is asked of each layout.
var asked = []struct {
	name string
	o    Options
}{
	{"a map that names no paths", Options{Want: defaults}},
	{"a map that names others", Options{Want: Paths{"/etc/map.yaml", "/opt/map"}, Named: true}},
	{"the same with --adopt", Options{Want: Paths{"/etc/map.yaml", "/opt/map"}, Named: true, Adopt: true}},
}

// TestLayouts shows, for each layout, which kubelet is found and what is planned. The
// command that systemd makes of the result is the old one with the two flags: see
// keeps. A second run changes nothing.
func TestLayouts(t *testing.T) {
	var b strings.Builder
	for _, name := range layouts.Names() {
		fmt.Fprintf(&b, "== %s\n", name)
		files := layoutFiles(t, name)
		k, err := Find(files)
		if err != nil {
			fmt.Fprintf(&b, "%v\n\n", err)
			continue
		}
		fmt.Fprintf(&b, "%s, %s, config %q, bin_dir %q\n", k.Layout, k.Unit, k.Now.Config, k.Now.BinDir)
		for _, ask := range asked {
			o := ask.o
			o.AzureConfig, o.Version = "/etc/kubernetes/azure.json", "1.34"
			fmt.Fprintf(&b, "-- %s\n", ask.name)
			p := k.Plan(o)
			show(&b, p)
			keeps(t, name, files, p, o)
		}
		b.WriteString("\n")
	}
	const golden = "testdata/layouts.golden"
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the plans differ from %s; see with: UPDATE=1 go test ./cmd/internal/kubeletflags && git diff", golden)
	}
}

// show writes a plan for a person to read.
func show(b *strings.Builder, p Plan) {
	for _, f := range p.Faults {
		fmt.Fprintf(b, "refused: %v\n", f)
	}
	for _, c := range p.Changes {
		fmt.Fprintf(b, "%s\n", c.Path)
		old := strings.Split(string(c.Old), "\n")
		now := strings.Split(string(c.New), "\n")
		for _, line := range old {
			if !slices.Contains(now, line) {
				fmt.Fprintf(b, "    - %s\n", line)
			}
		}
		for _, line := range now {
			if !slices.Contains(old, line) {
				fmt.Fprintf(b, "    + %s\n", line)
			}
		}
	}
	if p.Link != "" {
		fmt.Fprintf(b, "link: %s -> %s\n", p.Link, p.LinkTo)
	}
	for _, w := range p.Waiting {
		fmt.Fprintf(b, "waiting: %s\n", w)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(b, "note: %s\n", n)
	}
	if len(p.Faults)+len(p.Changes)+len(p.Notes)+len(p.Waiting) == 0 {
		b.WriteString("nothing to do\n")
	}
}

// keeps carries a plan out and holds what is true of each: the command is the old
// one and the flags, all else in the files is as it was, a second run changes
// nothing, and what was added can be taken out again.
func keeps(t *testing.T, name string, files tree, p Plan, o Options) {
	t.Helper()
	if len(p.Faults) > 0 {
		if len(p.Changes) > 0 {
			t.Errorf("%s: refused, with changes", name)
		}
		return
	}
	after := tree{}
	for path, text := range files {
		after[path] = text
	}
	for _, c := range p.Changes {
		if old, ok := files[c.Path]; ok != (c.Old != nil) || old != string(c.Old) {
			t.Errorf("%s: %s was %q; the plan says %q", name, c.Path, old, c.Old)
		}
		if c.Path == kubeadmFile {
			t.Errorf("%s: kubeadm's file is written", name)
		}
		after[c.Path] = string(c.New)
		if c.Added {
			if back, err := Remove(c.New); err != nil || string(back) != string(c.Old) && name != "plain-variable" { // whose value is written anew
				t.Errorf("%s: %s becomes %q without the flags, %v; want %q", name, c.Path, back, err, c.Old)
			}
		}
	}
	k, err := Find(after)
	if err != nil {
		t.Fatalf("%s afterwards: %v", name, err)
	}
	if k.Layout != "EKS" && k.Now != p.Paths {
		t.Errorf("%s: the flags say %v; want %v", name, k.Now, p.Paths)
	}
	if before, err := unitfile.ReadCommand(files, kubeletUnit); err == nil {
		now, err := unitfile.ReadCommand(after, kubeletUnit)
		if err != nil || !slices.Equal(others(now.Argv), others(before.Argv)) {
			t.Errorf("%s: the command becomes %q, %v; want %q and the flags", name, now.Argv, err, before.Argv)
		}
	}
	if again := k.Plan(o); len(again.Changes)+len(again.Faults) > 0 {
		t.Errorf("%s: the second plan has %v and %v", name, again.Changes, again.Faults)
	}
}

// TestUnreadable holds that a file which is there and cannot be read is said, and not
// guessed about.
func TestUnreadable(t *testing.T) {
	for _, name := range []string{"/usr/lib/systemd/system/kubelet.service", "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", "/etc/default/kubelet"} {
		files := layoutFiles(t, "kubeadm-deb")
		files[name] = "unreadable"
		_, err := Find(files)
		var f *Fault
		if !errors.As(err, &f) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v; want a fault that names it", name, err)
		}
	}
}
