package oracle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// A node is a machine's files below a directory, and the directory in which the
// kubelet looks for plugins.
type node struct{ programs, root, bin string }

var (
	buildOnce sync.Once
	buildDir  string
	buildErr  error
)

// build makes mirrorcred's programs, once a run, and returns their directory.
func build(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		if buildDir, buildErr = os.MkdirTemp("", "mirrorcred-oracle-*"); buildErr != nil {
			return
		}
		c := exec.Command("go", "build", "-buildvcs=false", "-o", buildDir+"/", "./cmd/mirrorcred", "./cmd/mirror-credential-provider")
		c.Dir = "../../.."
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return buildDir
}

// newNode returns a node on which containerd reads the tree.
func newNode(t *testing.T, programs string) node {
	t.Helper()
	dir := t.TempDir()
	n := node{programs, filepath.Join(dir, "root"), filepath.Join(dir, "bin")}
	n.write(t, "/etc/containerd/config.toml", "version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\nconfig_path = \"/etc/containerd/certs.d\"\n")
	for _, name := range credentials {
		if name != "anonymous" && audiences[name] == "" {
			n.write(t, configFile(name), configText(name))
		}
	}
	const name = "mirror-credential-provider"
	plugin := filepath.Join(programs, name)
	n.program(t, filepath.Join(n.root, "var/lib/kubelet/credential-provider", name), "exit 1")
	// The configuration stays as it was generated: what is in the bin
	// directory under the provider's name adds --root to its arguments.
	n.program(t, filepath.Join(n.bin, name), fmt.Sprintf("exec %q \"$@\" --root %q", plugin, n.root))
	n.program(t, filepath.Join(n.bin, "acr-credential-provider"), "exit 1")
	return n
}

func (n node) program(t *testing.T, path, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// write writes a file of the node; none if path is empty.
func (n node) write(t *testing.T, path, text string) {
	t.Helper()
	if path == "" {
		return
	}
	path = filepath.Join(n.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// apply brings the node to a map.
func (n node) apply(t *testing.T, text string) {
	t.Helper()
	n.write(t, "/etc/mirrorcred/mirrors.toml", text)
	if out, err := exec.CommandContext(t.Context(), filepath.Join(n.programs, "mirrorcred"), "apply", "--root", n.root).CombinedOutput(); err != nil {
		t.Fatalf("mirrorcred apply: %v\n%s\nthe map:\n%s", err, out, text)
	}
	n.link(t)
}

// link has the directory of the plugins have the links that the node's has.
func (n node) link(t *testing.T) {
	t.Helper()
	for _, dir := range []string{n.bin, filepath.Join(n.root, "var/lib/kubelet/credential-provider")} {
		links, err := filepath.Glob(filepath.Join(dir, "mirror-credential-provider-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if dir == n.bin {
				err = os.Remove(link)
			} else {
				var to string
				if to, err = os.Readlink(link); err == nil {
					err = os.Symlink(to, filepath.Join(n.bin, filepath.Base(link)))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}
