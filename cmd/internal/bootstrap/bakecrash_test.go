package bootstrap

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	layouts "github.com/mirrorcred/mirrorcred/cmd/internal/nodetest/layouts/containerd"
)

// layoutOf returns the layout of a name.
func layoutOf(t testing.TB, name string) layouts.Layout {
	t.Helper()
	all, err := layouts.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		if l.Name == name {
			return l
		}
	}
	t.Fatalf("there is no layout %q", name)
	return layouts.Layout{}
}

// TestBakeKilled kills bake, and undo, before each of their own system calls; those
// of apply are those of TestKilled in package node. containerd's configuration is as
// before or done then, the next run ends as if nothing had happened, and undo gives
// the tree back.
func TestBakeKilled(t *testing.T) {
	const stride = 4 // most calls are alike
	from := program(t)
	for i, name := range []string{"config-default-1.7", "none", "later-drop-in"} {
		for _, phase := range []string{"bake", "undo"} {
			t.Run(name+" "+phase, func(t *testing.T) {
				t.Parallel()
				l := layoutOf(t, name)
				adopt := l.Adopt != ""
				whole := baking(t, l, "2.0", from)
				if name == "config-default-1.7" {
					whole = baking(t, l, "1.7", from)
				}
				first := tree(t, whole.Root)
				bake(t, whole, adopt)
				want := tree(t, whole.Root)
				for k := 1 + i; ; k += stride {
					version := "2.0"
					if name == "config-default-1.7" {
						version = "1.7"
					}
					b := baking(t, l, version, from)
					if phase == "undo" {
						bake(t, b, adopt)
						b = again(t, b.Root, from)
					}
					kill(b.Node, k, nil)
					ended := stopped(t, nil, func() error {
						if phase == "undo" {
							_, _, err := undoAll(t, b)
							return err
						}
						bake(t, b, adopt)
						return nil
					})
					checkConfig(t, b.Root, first, want)
					b = again(t, b.Root, from)
					if phase == "bake" {
						bake(t, b, adopt)
						if now := tree(t, b.Root); now != want {
							t.Fatalf("killed at step %d, and baked again:\n%s\nwant:\n%s", k, now, want)
						}
					}
					if kept, waiting, err := undoAll(t, again(t, b.Root, from)); err != nil || len(kept)+len(waiting) > 0 {
						t.Fatalf("killed at step %d: %v, %v, %v", k, kept, waiting, err)
					}
					if now := tree(t, b.Root); now != first {
						t.Fatalf("killed at step %d, and undone:\n%s\nbefore:\n%s", k, now, first)
					}
					os.RemoveAll(b.Root)
					if !ended {
						if k < 20 {
							t.Fatalf("only %d steps", k)
						}
						return
					}
				}
			})
		}
	}
}

// checkConfig holds that each of containerd's files is a line of the tree before or
// of the tree after.
func checkConfig(t *testing.T, root, before, after string) {
	t.Helper()
	for line := range strings.Lines(tree(t, root)) {
		if !strings.HasPrefix(line, "/etc/containerd/") || strings.Contains(line, "/certs.d") || strings.Contains(line, "/.mirrorcred-") {
			continue
		}
		if !strings.Contains(before, line) && !strings.Contains(after, line) {
			t.Fatalf("%s is neither as before nor done", line)
		}
	}
}

// TestBlock sets config_path in files that are written in many ways: the other lines
// stay, cutting the block out gives the file back, and a second time changes nothing.
func TestBlock(t *testing.T) {
	for name, test := range map[string]struct{ in, want string }{
		"a header": {
			"[plugins.'io.containerd.grpc.v1.cri'.registry]\nother = 1\n",
			"[plugins.'io.containerd.grpc.v1.cri'.registry]\n" + blockBegin + "\nconfig_path = \"/d\"\n" + blockEnd + "\nother = 1\n",
		},
		"a dotted key": {
			"[plugins.\"io.containerd.grpc.v1.cri\"]\n\tregistry.\"config_path\" = ''\n",
			"[plugins.\"io.containerd.grpc.v1.cri\"]\n\t" + blockBegin + "\n\t# was: \tregistry.\"config_path\" = ''\n\tregistry.\"config_path\" = \"/d\"\n\t" + blockEnd + "\n",
		},
		"a header in a string": {
			"a = '''\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n'''\n",
			"a = '''\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n'''\n" + blockBegin + "\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/d\"\n" + blockEnd + "\n",
		},
		"no line": {"", blockBegin + "\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/d\"\n" + blockEnd + "\n"},
		"several lines": {
			"[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = '''\n'''\n", "",
		},
		"inline": {"plugins = {\"io.containerd.grpc.v1.cri\" = {registry = {config_path = \"\"}}}\n", ""},
	} {
		got, err := setConfigPath([]byte(test.in), criPlugin, "/d")
		if test.want == "" {
			if err == nil {
				t.Errorf("%s: %s; want an error", name, got)
			}
			continue
		}
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %v\n%s\nwant:\n%s", name, err, got, test.want)
		}
		if back, err := cutBlock(got); err != nil || string(back) != test.in {
			t.Errorf("%s: cut out: %q, %v; want %q", name, back, err, test.in)
		}
		if twice, err := setConfigPath(got, criPlugin, "/d"); err != nil || !bytes.Equal(twice, got) {
			t.Errorf("%s: a second time: %v\n%s", name, err, twice)
		}
	}
	block := blockBegin + "\n[plugins.x.registry]\nconfig_path = \"/d\"\n" + blockEnd + "\n"
	for name, text := range map[string]string{"a key behind it": block + "other = 1\n", "no end": strings.TrimSuffix(block, blockEnd+"\n")} {
		if out, err := cutBlock([]byte(text)); err == nil {
			t.Errorf("%s: %s; want an error", name, out)
		}
	}
}

// TestDiffOfSecrets holds that a diff shows no login.
func TestDiffOfSecrets(t *testing.T) {
	old := "[plugins.x.registry.configs.\"a\".auth]\n  password = \"canary\"\n  identitytoken = 'canary'\n[plugins.x.registry.headers]\nX-Header = [\"shown\"]\nAuthorization = [\"Basic canary\"]\n"
	s := Step{Path: "/etc/containerd/config.toml", Old: &File{Data: []byte(old), Mode: 0o644}, New: &File{Data: []byte(old + "config_path = \"/d\"\n"), Mode: 0o644}}
	if diff := s.Diff(); strings.Contains(diff, "canary") || !strings.Contains(diff, "+config_path = \"/d\"") || !strings.Contains(diff, "shown") {
		t.Errorf("the diff is\n%s", diff)
	}
}

// TestDiffOfClosedFiles holds that a diff of a file that not every user may read shows
// what mirrorcred writes there, and nothing else of it.
func TestDiffOfClosedFiles(t *testing.T) {
	const flags = "--image-credential-provider-config=/v/c.yaml --image-credential-provider-bin-dir=/v/b"
	for name, test := range map[string]struct{ old, new, want string }{
		"environment": {"HTTPS_PROXY=http://u:canary@p\nA=\"--x=canary\"\n", "HTTPS_PROXY=http://u:canary@p\nA=\"--x=canary " + flags + "\"\n", "+(not shown) " + flags + "\n"},
		"several lines": {"[x.headers]\nX-Key = [\n  \"canary\"\n]\n", "[x.headers]\nX-Key = [\n  \"canary\"\n]\n" + string(block("", "", "config_path = \"/d\"")),
			"+config_path = \"/d\"\n"},
		"beside ours": {"config_path = \"/c\"\nconfig_pathx = canary\n", string(block("", "config_path = \"/c\"", "config_path = \"/d\"")) + "config_pathx = canary\n", "+# was: config_path = \"/c\"\n"},
	} {
		for _, mode := range []fs.FileMode{0o600, 0o640} {
			s := Step{Path: "/f", Old: &File{Data: []byte(test.old), Mode: mode}, New: &File{Data: []byte(test.new), Mode: mode}}
			if diff := s.Diff(); strings.Contains(diff, "canary") || !strings.Contains(diff, test.want) {
				t.Errorf("%s: the diff is\n%s", name, diff)
			}
		}
	}
	s := Step{Path: "/etc/default/kubelet", Old: &File{Data: []byte("P=http://u:canary@p/\n"), Mode: 0o644}, New: &File{Data: []byte("P=http://u:canary@p/\nA=\n"), Mode: 0o644}}
	if diff := s.Diff(); strings.Contains(diff, "canary") {
		t.Errorf("a login in a URL: the diff is\n%s", diff)
	}
}

// BenchmarkBake bakes a node with 100 mirrors; what systemctl takes comes on top.
func BenchmarkBake(b *testing.B) {
	l, from := layoutOf(b, "config-default-2.2"), program(b)
	var text strings.Builder
	text.WriteString("version = 1\n[containerd]\nversion = \"2.2\"\n")
	for i := range 100 {
		fmt.Fprintf(&text, "[[mirror]]\nsource = \"r%d.example\"\ntargets = [\"harbor.example/r%d\"]\n", i, i)
	}
	for b.Loop() {
		b.StopTimer()
		one := baking(b, l, "2.2", from)
		write(b, one.Root, node.DefaultMap, text.String(), 0o644)
		b.StartTimer()
		if _, applied := bake(b, one, false); applied.Sources != 100 {
			b.Fatal(applied)
		}
	}
}
