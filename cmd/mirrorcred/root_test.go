package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A rooted is a node below --root, beside a directory that no run with --root may
// read or change. The same paths lead there, if a link is followed as on the real
// machine.
type rooted struct {
	*testing.T
	root, outside string
}

func newRooted(t *testing.T) rooted {
	t.Helper()
	top := t.TempDir()
	r := rooted{t, filepath.Join(top, "root"), filepath.Join(top, "outside")}
	r.must(newRoot(r.root))
	r.must(os.MkdirAll(r.outside, 0o755))
	r.write("root/etc/mirrorcred/mirrors.toml", everything)
	r.write("root/etc/kubernetes/azure.json", `{"tenantId": "t", "useManagedIdentityExtension": true}`)
	r.write("root/etc/mirrorcred/header", "Bearer inside\n")
	r.write("root/var/lib/kubelet/other", "")
	return r
}

// everything names each kind of file that a map can.
const everything = `version = 1
[[mirror]]
source = "docker.io"
targets = ["inside.azurecr.io/hub"]
[[mirror]]
source = "quay.io"
targets = ["harbor.corp/quay"]
[registry."harbor.corp"]
credential = "harbor"
header = { Authorization = { file = "/etc/mirrorcred/header" } }
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`

func (r rooted) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r rooted) write(path, text string) {
	r.Helper()
	path = filepath.Join(filepath.Dir(r.root), path)
	r.must(os.MkdirAll(filepath.Dir(path), 0o755))
	r.must(os.WriteFile(path, []byte(text), 0o600))
}

// move moves what is at a path of the node to where a link to a directory outside
// leads below the root, and puts the link there.
func (r rooted) move(path string) {
	r.Helper()
	from, to := filepath.Join(r.root, path), filepath.Join(r.root, r.outside, path)
	r.must(os.MkdirAll(filepath.Dir(to), 0o755))
	if _, err := os.Lstat(from); err == nil {
		r.must(os.Rename(from, to))
	} else {
		r.must(os.MkdirAll(to, 0o755))
		r.must(os.MkdirAll(filepath.Dir(from), 0o755))
	}
	r.must(os.Symlink(filepath.Join(r.outside, path), from))
}

// see returns all that is in a directory.
func (r rooted) see(dir string) string {
	r.Helper()
	var b strings.Builder
	r.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", strings.TrimPrefix(path, dir), info.Mode())
		if info.Mode().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %q", data)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

func (r rooted) run(args ...string) (string, error) {
	r.Helper()
	var out bytes.Buffer
	err := run(context.Background(), append(args, "--root", r.root), &out)
	return out.String(), err
}

// TestRootStaysInside checks that no link below --root leads out of it, for each
// path that is read or written there. What lies outside is a trap: it says
// otherwise than what is inside, or is of no use.
func TestRootStaysInside(t *testing.T) {
	for _, path := range []string{
		"etc", "var", "var/lib", "run",
		"etc/containerd", "etc/containerd/config.toml", "etc/containerd/certs.d", "etc/containerd/conf.d",
		"etc/mirrorcred", "etc/mirrorcred/mirrors.toml", "etc/mirrorcred/header",
		"var/lib/mirrorcred", "var/lib/mirrorcred/routes", "var/lib/mirrorcred/adopted",
		"var/lib/kubelet", "var/lib/kubelet/credential-provider", "var/lib/kubelet/credential-provider-config.yaml.d",
		"etc/kubernetes", "etc/kubernetes/azure.json", "etc/systemd/system",
	} {
		t.Run(path, func(t *testing.T) {
			r := newRooted(t)
			r.write("root/etc/containerd/certs.d/quay.io/hosts.toml", "server = \"https://inside\"\n") // to adopt
			r.move(path)
			// The trap has the names of everything, with other contents.
			for name, text := range map[string]string{
				"etc/mirrorcred/mirrors.toml":            strings.ReplaceAll(everything, "inside", "outside"),
				"etc/mirrorcred/header":                  "Bearer outside\n",
				"etc/containerd/config.toml":             "version = 99\n",
				"etc/containerd/certs.d/a.b/hosts.toml":  "# outside\n",
				"etc/kubernetes/azure.json":              "{}",
				"var/lib/mirrorcred/state.json":          "outside",
				"var/lib/mirrorcred/routes/a.b.json":     "outside",
				"var/lib/mirrorcred/.mirrorcred-7":       "outside",
				"var/lib/kubelet/credential-provider/x":  "outside",
				"etc/containerd/certs.d/.mirrorcred-7/x": "outside",
			} {
				if _, err := os.Lstat(filepath.Join(r.outside, name)); err != nil {
					r.write("outside/"+name, text)
				}
			}
			before := r.see(r.outside)
			for range 2 {
				if out, err := r.run("apply", "--adopt"); err != nil {
					t.Errorf("apply: %v\n%s", err, out)
				}
			}
			if out, err := r.run("units", "--install"); err != nil {
				t.Errorf("units: %v\n%s", err, out)
			}
			// And gone again.
			r.write("root/map.toml", "version = 1\n")
			after := r.see(r.root)
			if _, err := r.run("apply", "--map", filepath.Join(r.root, "map.toml")); err != nil {
				t.Error(err)
			}
			if now := r.see(r.outside); now != before {
				t.Errorf("outside:\n%s\nbefore:\n%s", now, before)
			}
			for _, want := range []string{"inside.azurecr.io/hub", "Bearer inside"} {
				if !strings.Contains(after, want) {
					t.Errorf("%q is nowhere inside:\n%s", want, after)
				}
			}
			if strings.Contains(after, "Bearer outside") || strings.Contains(after, "outside.azurecr.io") {
				t.Errorf("inside is what was outside:\n%s", after)
			}
		})
	}
}

// A file of the node's that is itself a link.
func TestRootFileLinks(t *testing.T) {
	r := newRooted(t)
	secret := filepath.Join(r.outside, "secret")
	r.write("outside/secret", "Bearer outside\n")
	header := filepath.Join(r.root, "etc/mirrorcred/header")
	r.must(os.Remove(header))
	r.must(os.Symlink(secret, header))
	if out, err := r.run("apply"); err == nil || !strings.Contains(out, header+": no such file") {
		t.Errorf("apply with a header that leads outside: %v", err)
	}
	r.must(os.Remove(header))
	r.must(os.Symlink("../../../../../../../../../../../../"+secret, header))
	if out, err := r.run("apply"); err == nil || !strings.Contains(out, header+": no such file") {
		t.Errorf("apply with a header that leads up and outside: %v", err)
	}
}

func TestRootFlag(t *testing.T) {
	r := newRooted(t)
	file := filepath.Join(r.root, "etc/mirrorcred/mirrors.toml")
	t.Chdir(t.TempDir()) // in case a --root is taken for this directory
	for root, want := range map[string]string{
		"":                 "--root is empty; name a directory",
		r.root + "/gone":   "no such file or directory; name an existing directory",
		file:               "not a directory; name an existing directory",
		"/proc/self/root":  ": it is this machine; run mirrorcred on that machine",
		"/proc/self/root/": ": it is this machine; run mirrorcred on that machine",
	} {
		// The first one changes nothing, and the test ends if it is not refused: what
		// comes then would change this machine.
		for _, command := range [][]string{{"apply", "-n"}, {"apply"}, {"watch"}, {"units", "--install"}, {"events"}, {"status"}} {
			if strings.Contains(want, "this machine") && (command[0] == "events" || command[0] == "status" || command[0] == "watch") {
				continue // they read, or go on and report it
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			err := run(ctx, append(command, "--root="+root), &bytes.Buffer{})
			cancel()
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("%s --root=%q: %v; want %s", command, root, err, want)
			}
		}
	}
}
