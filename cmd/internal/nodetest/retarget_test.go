package nodetest_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// TestRetarget changes the target of a mirror and holds that both sides turn:
// the plugin answers the new target's credential alone, and containerd pulls
// from it alone.
func TestRetarget(t *testing.T) {
	const image = "mcr.microsoft.com/app:v1"
	w := newWorld(t, "mcr.microsoft.com")
	digests := map[string]string{}
	for _, host := range []string{"contoso.azurecr.io", "fabrikam.azurecr.io"} {
		digests[host] = w.add(host, "app", "v1", azuretest.ACROptions{})
	}
	hosts := w.node.Path(nodetest.HostsDir, "mcr.microsoft.com", "hosts.toml")
	var first []byte
	for _, target := range []string{"contoso.azurecr.io", "fabrikam.azurecr.io"} {
		w.apply(mirrorOf("mcr.microsoft.com", "", target))
		w.onlyAt(image, target, digests[target])
		if first == nil {
			var err error
			if first, err = os.ReadFile(hosts); err != nil {
				t.Fatal(err)
			}
		}
	}
	route, err := os.ReadFile(w.node.Path(nodetest.RoutesDir, "mcr.microsoft.com.json"))
	if err != nil || strings.Contains(string(route), "contoso.azurecr.io") || strings.Count(string(route), "fabrikam.azurecr.io") != 1 {
		t.Errorf("the route is %s (%v); want fabrikam.azurecr.io in it and contoso.azurecr.io forgotten", route, err)
	}

	// The first target's file is ours by its header, but not in force.
	if err := os.WriteFile(hosts, first, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := w.ask(image); got.Run.Code != 1 || len(got.Response.Auth) > 0 {
		t.Errorf("with the first hosts.toml put back the plugin answered %d credentials, exit code %d; want none, 1", len(got.Response.Auth), got.Run.Code)
	}
	w.apply(mirrorOf("mcr.microsoft.com", "", "fabrikam.azurecr.io"))
	w.onlyAt(image, "fabrikam.azurecr.io", digests["fabrikam.azurecr.io"])
	w.checkSources()
}

// onlyAt asks for an image and pulls it in each way, and holds that it comes
// from host, with host's credential, and that no other registry is asked.
func (w *world) onlyAt(image, host, digest string) {
	w.Helper()
	w.forget()
	answer := w.ask(image)
	if len(answer.Credentials) != 1 || audience(answer.Credentials[0].Password) != host {
		w.Fatalf("the plugin answered %d credentials, %q; want one of %s", len(answer.Credentials), answer.Run.Stderr, host)
	}
	for way := range ways {
		if got, _ := w.pull(way, image, answer.Credentials); got.Digest != digest {
			w.Errorf("%s: pull = %q, %q; want %q from %s", way, got.Digest, got.Fault, digest, host)
		}
	}
	for other, acr := range w.acrs {
		if got := acr.Requests(); other != host && len(got) > 0 {
			w.Errorf("%s was asked: %v", other, got)
		}
	}
}

// TestRemove takes mirrors out of the map: what containerd reads and what the
// plugin answers go together.
func TestRemove(t *testing.T) {
	const image = "mcr.microsoft.com/app:v1"
	w := newWorld(t, "mcr.microsoft.com")
	w.add("contoso.azurecr.io", "app", "v1", azuretest.ACROptions{})
	w.apply(toContoso)
	w.apply("version = 1\n")
	answer := w.ask(image)
	if len(answer.Response.Auth) > 0 {
		t.Errorf("the plugin answered %d credentials; want none", len(answer.Response.Auth))
	}
	for way := range ways {
		if got, _ := w.pull(way, image, answer.Credentials); got.Fault == "" {
			t.Errorf("%s: pulled %s", way, got.Digest)
		}
	}
	w.checkSources("mcr.microsoft.com")
}

// TestApplyAgain holds that nothing is written where nothing has changed: each
// file and directory keeps its inode and its time.
func TestApplyAgain(t *testing.T) {
	w := newWorld(t)
	text := toContoso
	for i := range 20 {
		text += fmt.Sprintf("\n[[mirror]]\nsource = \"registry%d.corp\"\ntargets = [\"contoso.azurecr.io/r%d\"]\n", i, i)
	}
	w.apply(text)
	before := w.snapshot()
	if got, want := w.apply(text), "in step: 21 sources\n"; got != want {
		t.Errorf("apply again = %q; want %q", got, want)
	}
	// apply wrote the map itself anew; its time is not mirrorcred's.
	if after := w.snapshot(); !maps.Equal(after, before) {
		for _, path := range slices.Sorted(maps.Keys(after)) {
			if after[path] != before[path] {
				t.Errorf("%s: inode and time are %v; want %v", path, after[path], before[path])
			}
		}
	}
}

// snapshot returns the inode and the time of each file and directory that
// mirrorcred writes.
func (w *world) snapshot() map[string][2]int64 {
	w.Helper()
	seen := map[string][2]int64{}
	err := filepath.WalkDir(w.node.Root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || path == w.node.Path(nodetest.MapFile) {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		seen[path] = [2]int64{int64(info.Sys().(*syscall.Stat_t).Ino), info.ModTime().UnixNano()}
		return nil
	})
	if err != nil {
		w.Fatal(err)
	}
	return seen
}
