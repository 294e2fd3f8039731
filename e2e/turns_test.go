package e2e

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// A turn is a change of containerd's configuration while containerd runs.
type turn struct {
	name  string
	files map[string]string // in /etc/containerd, config.toml among them unless it is a link
	link  string            // what config.toml is a link to; "" for a file
	turn  func(t *testing.T)
	reads bool // a containerd that starts with what is there then reads mirrorcred's tree
	same  bool // nothing has changed
	dead  bool // no containerd starts with what is there then
}

const (
	configDir = "/etc/containerd"
	drops     = "imports = [\"/etc/containerd/conf.d/*.toml\"]\n"
	oursTable = "version = VERSION\n[REGISTRY]\n" + ours
	elseTable = "version = VERSION\n[REGISTRY]\n" + elsewhere
)

// turns returns the turns for a version of containerd.
func turns(version string) []turn {
	text := func(s string) string { return tables(version, s) }
	edit := func(name, s string) func(*testing.T) {
		return func(t *testing.T) { write(t, filepath.Join(configDir, name), text(s)) }
	}
	list := []turn{
		{name: "nothing", files: map[string]string{"config.toml": oursTable}, turn: func(*testing.T) {}, reads: true, same: true},
		{name: "edited", files: map[string]string{"config.toml": oursTable}, turn: edit("config.toml", elseTable)},
		{name: "edited and back", files: map[string]string{"config.toml": oursTable}, reads: true, turn: func(t *testing.T) {
			edit("config.toml", elseTable)(t)
			edit("config.toml", oursTable)(t)
		}},
		{name: "another setting edited", files: map[string]string{"config.toml": oursTable}, reads: true,
			turn: edit("config.toml", oursTable+"[CRI]\nmax_concurrent_downloads = 4\n")},
		{name: "replaced by rename", files: map[string]string{"config.toml": oursTable}, turn: func(t *testing.T) {
			edit("new.toml", elseTable)(t)
			rename(t, configDir+"/new.toml", node.ContainerdConfig)
		}},
		{name: "removed", files: map[string]string{"config.toml": oursTable}, turn: func(t *testing.T) { remove(t, node.ContainerdConfig) }, dead: true},
		{name: "drop-in removed", files: map[string]string{"config.toml": "version = VERSION\n" + drops, "conf.d/a.toml": oursTable},
			turn: func(t *testing.T) { remove(t, configDir+"/conf.d/a.toml") }},
		{name: "drop-in added", files: map[string]string{"config.toml": "version = VERSION\n" + drops + "[REGISTRY]\n" + ours, "conf.d/a.toml": "version = VERSION\n"},
			turn: edit("conf.d/z.toml", elseTable)},
		{name: "drop-in renamed", files: map[string]string{"config.toml": "version = VERSION\n" + drops, "conf.d/a.toml": elseTable, "conf.d/b.toml": oursTable},
			turn: func(t *testing.T) { rename(t, configDir+"/conf.d/a.toml", configDir+"/conf.d/c.toml") }},
		{name: "directory swapped", files: map[string]string{"config.toml": "version = VERSION\n" + drops, "conf.d/a.toml": oursTable, "other.d/a.toml": elseTable},
			turn: func(t *testing.T) {
				rename(t, configDir+"/conf.d", configDir+"/old.d")
				rename(t, configDir+"/other.d", configDir+"/conf.d")
			}},
		{name: "link turned", files: map[string]string{"a.toml": oursTable, "b.toml": elseTable}, link: "a.toml",
			turn: func(t *testing.T) {
				if err := os.Symlink("b.toml", configDir+"/link"); err != nil {
					t.Fatal(err)
				}
				rename(t, configDir+"/link", node.ContainerdConfig)
			}},
		{name: "edited, and the socket touched", files: map[string]string{"config.toml": oursTable}, turn: func(t *testing.T) {
			edit("config.toml", elseTable)(t)
			for _, mode := range []fs.FileMode{0o600, 0o660} {
				if err := os.Chmod(node.Socket, mode); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
	for _, one := range list {
		for name, s := range one.files {
			one.files[name] = text(s)
		}
	}
	return list
}

// Whatever happens to containerd's configuration while it runs and when it
// starts anew: a credential is returned only if the pull goes to the mirror.
// So it is before mirrorcred has looked again, too.
func TestConfigurationChangesBehindContainerd(t *testing.T) {
	for _, version := range versions() {
		for _, one := range turns(version) {
			t.Run(version+"/"+strings.ReplaceAll(one.name, " ", "-"), func(t *testing.T) { one.check(t, version) })
		}
	}
}

func (o turn) check(t *testing.T, version string) {
	freshNode(t)
	for _, dir := range []string{"conf.d", "other.d", "old.d", "a.toml", "b.toml", "config.toml"} {
		t.Cleanup(func() { os.RemoveAll(filepath.Join(configDir, dir)) })
	}
	for name, text := range o.files {
		write(t, filepath.Join(configDir, name), text)
	}
	if o.link != "" {
		remove(t, node.ContainerdConfig)
		if err := os.Symlink(o.link, node.ContainerdConfig); err != nil {
			t.Fatal(err)
		}
	}

	c := startContainerdAt(t, version, "", node.Place{})
	apply(t, oneMirror, 0)
	o.judge(t, c, "at first", true, true)

	o.turn(t)
	// The process has read what was there when it started.
	o.judge(t, c, "once it has changed", true, true)
	code := applied(t)
	if armed := o.judge(t, c, "once it has changed and was applied", o.same, true); armed != (code != 1) {
		t.Errorf("apply exits with %d, and the plugin answers: %v", code, armed)
	}

	c.Stop()
	if o.dead {
		if list, err := answer(t.Context(), "mcr.microsoft.com/turns/app"); len(list) > 0 {
			t.Errorf("the plugin answers, and containerd does not start: %v", err)
		}
		return
	}
	c = startContainerdAt(t, version, "", node.Place{})
	// What was withdrawn is withdrawn until the next apply.
	o.judge(t, c, "when containerd has started anew", o.same, o.reads)
	code = applied(t)
	o.judge(t, c, "when containerd has started anew and it was applied", o.reads, o.reads)
	if (code == 0) != o.reads {
		t.Errorf("apply exits with %d; containerd reads our tree: %v", code, o.reads)
	}
}

// judge pulls an image as the kubelet does, and reports whether the plugin
// answered. It fails the test if that is not between must and may, if the
// source was shown a credential, or if there was one and the pull did not go to
// the mirror.
func (o turn) judge(t *testing.T, c *node.Containerd, when string, must, may bool) bool {
	t.Helper()
	forget()
	pulls++
	repository := fmt.Sprintf("turns/app%d", pulls)
	pushRandom(t, contoso, repository, "1")
	image := "mcr.microsoft.com/" + repository
	list, answerErr := answer(t.Context(), image)
	armed := len(list) > 0
	if armed && !may || !armed && must {
		t.Errorf("%s: the plugin answers: %v (%v)", when, armed, answerErr)
	}
	err := pull(t.Context(), c, image, "1")
	if armed {
		if err != nil {
			t.Errorf("%s: the pull: %v", when, err)
		}
		credited(t, contoso, repository)
		silent(t, "mcr.microsoft.com")
	}
	unoffered(t, "mcr.microsoft.com")
	return armed
}

var pulls int // images of this test so far, so that containerd has no part of one

// applied runs "mirrorcred apply" once more and returns its exit code.
func applied(t *testing.T) int {
	t.Helper()
	said, code := applyAny(t, oneMirror)
	if code != 0 && !strings.Contains(said, "containerd") {
		t.Errorf("mirrorcred apply: exit %d but no message about containerd:\n%s", code, said)
	}
	return code
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}
