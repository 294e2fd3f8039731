package installer

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/systemd"
)

// A fakeBus is the systemd of a node whose units only print what they are.
type fakeBus struct {
	root  string
	calls []string
	fail  error
	state systemd.State
	undo  func()       // what the unit that undoes everything removes
	setUp func() error // how the unit that sets the node up ends, nil for well
}

func (b *fakeBus) Close() {}

func (b *fakeBus) Reload(context.Context) error {
	b.calls = append(b.calls, "reload")
	return nil
}

func (b *fakeBus) Restart(_ context.Context, unit string) error {
	b.calls = append(b.calls, "restart "+unit)
	if unit == systemd.WatchUnit {
		return nil
	}
	log, err := os.OpenFile(filepath.Join(b.root, unitLog), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer log.Close()
	if _, err := log.WriteString("the output of " + unit + "\n"); err != nil {
		return err
	}
	if unit == systemd.UndoUnit && b.undo != nil {
		b.undo()
	}
	if unit == systemd.BootstrapUnit && b.setUp != nil {
		return b.setUp()
	}
	return b.fail
}

func (b *fakeBus) State(context.Context, string) (systemd.State, error) { return b.state, nil }

// A pod is an installer with the directories that it has mounted.
type pod struct {
	Installer
	*testing.T
	bus *fakeBus
	out bytes.Buffer
}

// large makes a file of the programs' size, which is more than that of other files.
var large = strings.Repeat(" ", 9<<20)

func newPod(t *testing.T) *pod {
	t.Helper()
	root, image := t.TempDir(), t.TempDir()
	p := &pod{T: t, bus: &fakeBus{root: root}}
	for _, dir := range []string{dir, "/etc/systemd/system", delivered} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.Installer = Installer{Programs: []string{"/nonexistent", image}, Root: root, Out: &p.out, Connect: func(context.Context) (Bus, error) { return p.bus, nil }}
	for _, name := range []string{"mirrorcred", "mirror-credential-provider"} {
		p.write(filepath.Join(image, name), "program "+name+large)
	}
	p.Map, p.Allowed = filepath.Join(image, "map"), filepath.Join(image, "allowed")
	p.write(p.Map, "version = 1\n")
	p.write(p.Allowed, "version = 1\n# the list\n")
	return p
}

func (p *pod) write(name, text string) {
	p.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		p.Fatal(err)
	}
}

// tree returns the files of the node by path, with mode and content.
func (p *pod) tree() map[string]string {
	p.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(p.Root, func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		info, err := e.Info()
		files[strings.TrimPrefix(name, p.Root)] = info.Mode().String() + " " + strings.TrimSuffix(string(data), large)
		return err
	})
	if err != nil {
		p.Fatal(err)
	}
	return files
}

func TestInstall(t *testing.T) {
	p := newPod(t)
	p.Bake, p.WatchFlags = true, "--restart-kubelet --restart-jitter=79s"
	if err := p.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		manager: "-rwxr-xr-x program mirrorcred",
		plugin:  "-rwxr-xr-x program mirror-credential-provider",
		allowed: "-rw-r--r-- version = 1\n# the list\n",
		unitLog: "-rw-r--r-- the output of mirrorcred-bootstrap.service\n",
		"/etc/systemd/system/mirrorcred-bootstrap.service.d/installer.conf": "-rw-r--r-- [Service]\nExecStartPre=/usr/local/lib/mirrorcred/mirrorcred bootstrap bake\n",
		"/etc/systemd/system/mirrorcred.service.d/installer.conf":           "-rw-r--r-- # The installer of the DaemonSet writes this; /etc/default/mirrorcred wins.\n[Service]\nEnvironment=\"MIRRORCRED_FLAGS=--restart-kubelet --restart-jitter=79s\"\n",
		"/etc/mirrorcred/delivered/mirrors.toml":                            "-rw-r--r-- version = 1\n",
	}
	for _, u := range systemd.InstallerUnits() {
		want[u.Path] = "-rw-r--r-- " + string(u.Data)
	}
	if got := p.tree(); !maps.Equal(got, want) {
		t.Errorf("on the node: %q; want %q", got, want)
	}
	if want := []string{"reload", "restart mirrorcred-bootstrap.service"}; !slices.Equal(p.bus.calls, want) {
		t.Errorf("systemd was asked for %q; want %q", p.bus.calls, want)
	}
	if got := p.out.String(); got != "the output of mirrorcred-bootstrap.service\n" {
		t.Errorf("printed %q", got)
	}
}

// TestInstallAgain takes back what earlier values said, and leaves the map to the
// courier once that has run.
func TestInstallAgain(t *testing.T) {
	p := newPod(t)
	p.Bake, p.WatchFlags = true, "--restart-kubelet"
	if err := p.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.write(filepath.Join(p.Root, delivered, "courier.lock"), "default pod-1\n")
	p.write(p.Map, "version = 1\n# changed\n")
	p.Bake, p.WatchFlags, p.Allowed = false, "", ""
	if err := p.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := p.tree()
	for _, name := range []string{allowed, bakeConf, flagsConf} {
		if text, ok := got[name]; ok {
			t.Errorf("%s is still there: %q", name, text)
		}
	}
	if text := got[delivered+"/mirrors.toml"]; text != "-rw-r--r-- version = 1\n" {
		t.Errorf("the installer replaced the courier's map with %q", text)
	}
}

// TestRenew restarts a watcher that is older than its program, and no other.
func TestRenew(t *testing.T) {
	restart := "restart " + systemd.WatchUnit
	for name, c := range map[string]struct {
		state systemd.State
		want  bool
	}{
		"older":   {systemd.State{Active: "active", StartedAt: time.Unix(1, 0)}, true},
		"newer":   {systemd.State{Active: "active", StartedAt: time.Now().Add(time.Hour)}, false},
		"stopped": {systemd.State{Active: "inactive", StartedAt: time.Unix(1, 0)}, false},
	} {
		p := newPod(t)
		p.bus.state = c.state
		if err := p.Install(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(p.bus.calls, restart); got != c.want {
			t.Errorf("a watcher that is %s: restarted %v; want %v", name, got, c.want)
		}
	}
}

func TestUndo(t *testing.T) {
	p := newPod(t)
	p.bus.undo = func() { os.RemoveAll(filepath.Join(p.Root, dir)) }
	if err := p.Undo(t.Context()); err != nil || len(p.bus.calls) > 0 || !strings.HasPrefix(p.out.String(), "nothing to undo") {
		t.Fatalf("undo of nothing: %v, %q, %q", err, p.bus.calls, &p.out)
	}
	if err := p.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.out.Reset()
	p.bus.calls = nil
	if err := p.Undo(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []string{"reload", "restart mirrorcred-undo.service", "reload"}; !slices.Equal(p.bus.calls, want) {
		t.Errorf("systemd was asked for %q; want %q", p.bus.calls, want)
	}
	if got := p.out.String(); got != "the output of mirrorcred-undo.service\n" {
		t.Errorf("printed %q, although the unit removed its log", got)
	}
}

func TestInstallFaults(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pod)
		want   string
	}{
		"no mount":     {func(p *pod) { os.RemoveAll(filepath.Join(p.Root, dir)) }, "/usr/local/lib/mirrorcred is not a directory; mount the node's into the pod as a hostPath"},
		"no units":     {func(p *pod) { os.RemoveAll(filepath.Join(p.Root, "/etc/systemd/system")) }, "/etc/systemd/system is not a directory; mount the node's into the pod as a hostPath"},
		"no delivered": {func(p *pod) { os.RemoveAll(filepath.Join(p.Root, delivered)) }, "/etc/mirrorcred/delivered is not a directory; mount the node's into the pod as a hostPath"},
		"no map":       {func(p *pod) { os.Remove(p.Map) }, "map does not exist; mount it into the pod, or leave out --map"},
		"no list":      {func(p *pod) { os.Remove(p.Allowed) }, "allowed does not exist; mount it into the pod, or leave out --allowed"},
		"no plugin":    {func(p *pod) { os.Remove(filepath.Join(p.Programs[1], "mirror-credential-provider")) }, "mirror-credential-provider is in none of /nonexistent, "},
		"a bad map":    {func(p *pod) { p.write(p.Map, "version = 1\nmirrors = []\n") }, `map:2: unknown key "mirrors" in the map`},
		"a command":    {func(p *pod) { p.write(p.Map, "version = 1\n[credential.x]\nkind = \"exec\"\ncommand = \"/bin/sh\"\n") }, `map:`},
		"a bad list":   {func(p *pod) { p.write(p.Allowed, "version = 3\n") }, "allowed:1: version 3 is newer than this program"},
		"a quote":      {func(p *pod) { p.WatchFlags = `--tick="1s"` }, "a unit cannot have them"},
		"a failed job": {func(p *pod) { p.bus.fail = errors.New("systemd's job ended with \"failed\"") }, `systemd's job ended with "failed"`},
	} {
		p := newPod(t)
		c.change(p)
		err := p.Install(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want an error with %q", name, err, c.want)
		}
		if slices.Contains(p.bus.calls, "restart "+systemd.WatchUnit) {
			t.Errorf("%s: the watcher was restarted", name)
		}
	}
}
