//go:build linux

package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestRelativeRoot checks that each kind of credential is found below a root that
// is named from the working directory.
func TestRelativeRoot(t *testing.T) {
	const other = "version = 1\n[[mirror]]\nsource = \"mcr.microsoft.com\"\ntargets = [\"harbor.corp\"]\n" +
		"[registry.\"harbor.corp\"]\ncredential = \"other\"\n[credential.other]\n"
	const ofPair = byImage + `,"auth":{"mcr.microsoft.com":{"username":"u","password":"p"}}}` + "\n"
	cloud, _ := startCloud(t, "foo.azurecr.io")
	for kind, c := range map[string]struct{ text, want string }{
		"azure":         {toFoo, mcrAnswer},
		"docker-config": {other + "kind = \"docker-config\"\npath = \"/config.json\"\n", ofPair},
		"exec":          {other + "kind = \"exec\"\ncommand = \"/bin/other\"\n", ofPair},
	} {
		n := plant(t, c.text)
		writeFile(t, n.root, mirror.DefaultAzureConfig, configs["managed"])
		if err := os.Chmod(writeFile(t, n.root, "/config.json", `{"auths":{"harbor.corp":{"username":"u","password":"p"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		writeProgram(t, n.root, "/bin/other", "#!/bin/sh\necho '"+head+`"Image","cacheDuration":"0s","auth":{"harbor.corp":{"username":"u","password":"p"}}}`+"'\n")
		for _, root := range []string{filepath.Base(n.root), "./" + filepath.Base(n.root), n.root} {
			cmd := command(t, cloud, names[0], fromRoute, "--root="+root)
			cmd.Dir = filepath.Dir(n.root)
			if got := finish(t, cmd, request(mcrImage)); got.code != 0 || got.answer() != c.want {
				t.Errorf("%s with --root=%s: it exits %d with %s%s; want %s", kind, root, got.code, got.answer(), got.stderr, c.want)
			}
			if log := string(read(t, filepath.Join(n.root, "var/log/mirrorcred/plugin.jsonl"))); !strings.Contains(log, mcrImage) {
				t.Errorf("%s with --root=%s: the log is %s", kind, root, log)
			}
		}
	}
}

// TestRootLinks has each path of a node below another root be a link. One that is
// absolute leads to a path of that root, and none leads out of it: neither for
// reading nor for the log and the tokens.
func TestRootLinks(t *testing.T) {
	const text = toFoo + "[[mirror]]\nsource = \"docker.io\"\ntargets = [\"harbor.corp/hub\"]\n[[mirror]]\nsource = \"ghcr.io\"\ntargets = [\"exec.corp/hub\"]\n" +
		"[registry.\"harbor.corp\"]\ncredential = \"file\"\n[credential.file]\nkind = \"docker-config\"\npath = \"/config.json\"\n" +
		"[registry.\"exec.corp\"]\ncredential = \"program\"\n[credential.program]\nkind = \"exec\"\ncommand = \"/bin/other\"\n"
	cloud, _ := startCloud(t, "foo.azurecr.io")
	images := []string{mcrImage, "docker.io/library/x", "ghcr.io/x"}
	for _, isOut := range []bool{false, true} {
		n := plant(t, text)
		outside := t.TempDir()
		if err := os.Chmod(writeFile(t, n.root, "/config.json", `{"auths":{"harbor.corp":{"username":"u","password":"p"}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		writeProgram(t, n.root, "/bin/other", "#!/bin/sh\necho ran >> "+outside+"/ran\necho '"+head+`"Image","cacheDuration":"0s","auth":{"exec.corp":{"username":"u","password":"p"}}}`+"'\n")
		for _, dir := range []string{"/var/log/mirrorcred", "/run/mirrorcred"} {
			if err := os.MkdirAll(filepath.Join(n.root, dir), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"/var/log/mirrorcred", "/run/mirrorcred", mirror.DefaultAzureConfig, mirror.DefaultHostsDir, "/config.json", "/bin/other", routesDir} {
			from, place, to := filepath.Join(n.root, name), "", ""
			if isOut {
				to = filepath.Join(outside, strings.ReplaceAll(name, "/", "_"))
				place = to
			} else {
				to = "/real/" + strings.ReplaceAll(name, "/", "_")
				place = filepath.Join(n.root, to)
			}
			if err := os.MkdirAll(filepath.Dir(place), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(from, place); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, from); err != nil {
				t.Fatal(err)
			}
			if !isOut || name == "/var/log/mirrorcred" || name == "/run/mirrorcred" {
				continue
			}
			for _, image := range images {
				got := run(t, cloud, names[0], request(image), fromRoute, "--root="+n.root)
				if _, err := os.Stat(filepath.Join(outside, "ran")); err == nil && name == "/bin/other" {
					t.Errorf("%s leads out, and was run", name)
				}
				if uses := map[string]string{mirror.DefaultAzureConfig: mcrImage, "/config.json": images[1], "/bin/other": images[2]}[name]; (uses == image || uses == "") && strings.Contains(got.stdout, `"username"`) {
					t.Errorf("%s leads out, and %s is answered: %s", name, image, got.stdout)
				}
			}
			os.Remove(filepath.Join(outside, "ran"))
			// Back, for the next.
			if err := os.Remove(from); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(place, from); err != nil {
				t.Fatal(err)
			}
		}
		args := []string{fromRoute, "--root=" + n.root}
		if isOut {
			args = append(args, "--token-cache=") // it has the previous failures
		}
		for _, image := range images {
			if got := run(t, cloud, names[0], request(image), args...); got.code != 0 || !strings.Contains(got.stdout, `"username"`) {
				t.Errorf("outside %v: %s: it exits %d, %s%s", isOut, image, got.code, got.stdout, got.stderr)
			}
		}
		count := func(pattern string) int {
			found, err := filepath.Glob(pattern)
			if err != nil {
				t.Fatal(err)
			}
			return len(found)
		}
		if isOut && count(outside+"/_var_log_mirrorcred/*")+count(outside+"/_run_mirrorcred/*") > 0 {
			t.Error("the log or the tokens were written outside of the root")
		}
		if !isOut && (count(n.root+"/real/_var_log_mirrorcred/plugin.jsonl") == 0 || count(n.root+"/real/_run_mirrorcred/tokens/*") == 0) {
			t.Error("the log or the tokens are not where the links lead in the root")
		}
	}
}
