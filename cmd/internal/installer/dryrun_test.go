package installer

import (
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// TestDryRun names on stdout what a run then changes, and changes nothing.
func TestDryRun(t *testing.T) {
	p := newPod(t)
	p.Bake, p.WatchFlags = true, "--restart-kubelet"
	run := func(what func(*pod) error, isDry bool) string {
		t.Helper()
		p.DryRun = isDry
		p.out.Reset()
		if err := what(p); err != nil {
			t.Fatal(err)
		}
		return p.out.String()
	}
	install := func(p *pod) error { return p.Install(t.Context()) }
	undo := func(p *pod) error { return p.Undo(t.Context()) }

	before := p.tree()
	printed := run(install, true)
	if after := p.tree(); !maps.Equal(after, before) || len(p.bus.calls) > 0 {
		t.Errorf("a dry run left %q, and asked systemd for %q", after, p.bus.calls)
	}
	run(install, false)
	for name := range p.tree() {
		if name != unitLog && !strings.Contains(printed, "would write "+filepath.Join(p.Root, name)+"\n") {
			t.Errorf("%s was written; the dry run prints\n%s", name, printed)
		}
	}

	before = p.tree()
	p.WatchFlags = ""
	want := "would remove " + filepath.Join(p.Root, flagsConf) + "\nwould run " + systemd.BootstrapUnit + " on the node, and restart " + systemd.WatchUnit + " if its program or its flags are new\n"
	if got := run(install, true); got != want {
		t.Errorf("after an installation, a dry run prints\n%s\nwant\n%s", got, want)
	}
	if got, want := run(undo, true), "would run "+systemd.UndoUnit+" on the node\n"; got != want {
		t.Errorf("undo prints %q; want %q", got, want)
	}
	if after := p.tree(); !maps.Equal(after, before) {
		t.Errorf("dry runs left %q; want %q", after, before)
	}
}
