package nodetest_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/cmd/internal/nodetest"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
)

// The second promise: while containerd sends a source to a target, the plugin has
// that target's credential.

// TestNoGap turns a mirror back and forth while its images are pulled: each pull
// gets its image, from one of the targets, and the source is never asked.
func TestNoGap(t *testing.T) {
	const image = "mcr.microsoft.com/app:v1"
	targets := []string{"contoso.azurecr.io", "fabrikam.azurecr.io"}
	w := newWorld(t, "mcr.microsoft.com")
	digests := map[string]bool{}
	for _, host := range targets {
		digests[w.add(host, "app", "v1", azuretest.ACROptions{})] = true
	}
	w.apply(mirrorOf("mcr.microsoft.com", "", targets[0]))
	way := slices.Sorted(maps.Keys(ways))[0]
	for i := range 12 {
		turned := make(chan bool)
		go func() {
			defer close(turned)
			w.applyBeside(mirrorOf("mcr.microsoft.com", "", targets[(i+1)%2]))
		}()
		answer := w.ask(image)
		if len(answer.Credentials) != 1 {
			t.Errorf("pull %d: the plugin answered %d credentials, %s", i, len(answer.Credentials), answer.Run.Stderr)
		}
		got, _ := w.pull(way, image, answer.Credentials)
		<-turned
		if got.Fault != "" {
			// The mirror turned between the answer and the pull. The kubelet
			// tries again.
			got, _ = w.pull(way, image, w.ask(image).Credentials)
		}
		if !digests[got.Digest] {
			t.Errorf("pull %d: %q, %s", i, got.Digest, got.Fault)
		}
	}
	w.checkSources()
}

// applyBeside is apply in another goroutine.
func (w *world) applyBeside(mirrorMap string) {
	if err := w.node.WriteFile(nodetest.MapFile, mirrorMap); err != nil {
		w.Error(err)
	}
	if run, err := w.node.Apply(w.Context()); err != nil || run.Code != 0 {
		w.Errorf("mirrorcred apply = exit code %d, %v: %s", run.Code, err, run.Stderr)
	}
}

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

	// The first target's file is mirrorcred's by its header, but containerd does not read it.
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
