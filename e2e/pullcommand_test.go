package e2e

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// privatePause is the pause image as a private cloud has it: of a source with a
// mirror that wants a login.
const privatePause = "mcr.microsoft.com/oss/pause:3.9"

// TestPullCommand pulls by "mirrorcred pull", on the newest containerd and on 1.7: the
// pause image, which containerd itself cannot pull through the mirror, and another
// one. The mirror sees its credential, the source sees nothing, and "mirrorcred check
// --probe" agrees with what containerd does.
func TestPullCommand(t *testing.T) {
	for i, version := range versions() {
		if i > 0 && !strings.HasPrefix(version, "1.7.") {
			continue
		}
		t.Run(version, func(t *testing.T) {
			freshNode(t)
			c := startContainerdAt(t, version, node.Config(version, node.HostsDir, privatePause), node.Place{})
			apply(t, oneMirror, 0)
			push(t, contoso, "oss/pause", "3.9")
			push(t, contoso, "app/hello", "1")
			if err := c.Pull(t.Context(), privatePause, nil); err == nil {
				t.Fatal("the mirror gives the pause image to containerd, which has no credential")
			}

			const early = "pause-image-through-authenticated-mirror"
			if out := manager(t, 2, "check", "--probe", "--image", "mcr.microsoft.com/app/hello:1"); !strings.Contains(out, early) || !strings.Contains(out, "0 errors, 1 warning") {
				t.Errorf("check --probe before the pull prints\n%s\nwant %s alone", out, early)
			}
			out := manager(t, 0, "pull", "--sandbox", "mcr.microsoft.com/app/hello:1")
			for _, want := range []string{"pulled   " + privatePause, "pinned)\n", "pulled   mcr.microsoft.com/app/hello:1"} {
				if !strings.Contains(out, want) {
					t.Errorf("pull prints\n%s\nwant %q in it", out, want)
				}
			}
			for _, image := range []string{privatePause, "mcr.microsoft.com/app/hello:1"} {
				if err := c.Has(t.Context(), image); err != nil {
					t.Error(err)
				}
			}
			credited(t, contoso, "oss/pause")
			credited(t, contoso, "app/hello")
			if out := manager(t, 0, "pull", "--sandbox"); !strings.Contains(out, "present  "+privatePause) {
				t.Errorf("pull --sandbox again prints\n%s\nwant it to be present", out)
			}

			// What is not there is not tried again, and the probe says the same.
			out = manager(t, 1, "pull", "mcr.microsoft.com/app/missing:1")
			if !strings.Contains(out, "the registry does not have it") || strings.Contains(out, "trying again") {
				t.Errorf("pull of a missing image prints\n%s", out)
			}
			if out := manager(t, 1, "check", "--probe", "--image", "mcr.microsoft.com/app/missing:1"); !strings.Contains(out, "probe-not-found") {
				t.Errorf("check --probe of a missing image prints\n%s", out)
			}

			// Nor is what the registry forbids.
			world.acr[contoso].Fail("/v2/app/hello/manifests/2", azuretest.Refuse(403))
			out = manager(t, 1, "pull", "mcr.microsoft.com/app/hello:2")
			if !strings.Contains(out, "403") || strings.Contains(out, "trying again") {
				t.Errorf("pull of a forbidden image prints\n%s", out)
			}
			if out := manager(t, 1, "check", "--probe", "--image", "mcr.microsoft.com/app/hello:2"); !strings.Contains(out, "probe-forbidden") {
				t.Errorf("check --probe of a forbidden image prints\n%s", out)
			}

			// A registry that is asked too often is asked again later: containerd itself
			// gives up after five or six tries.
			push(t, contoso, "app/busy", "1")
			world.acr[contoso].Fail("/v2/app/busy/manifests/1", azuretest.Times(8, azuretest.Refuse(429)))
			if out := manager(t, 0, "pull", "mcr.microsoft.com/app/busy:1"); !strings.Contains(out, "trying again in") {
				t.Errorf("pull from a busy registry prints\n%s", out)
			}
			silent(t, "mcr.microsoft.com")
		})
	}
}

// manager runs mirrorcred, which has to exit with that code and print no secret, and
// returns what it prints.
func manager(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program("mirrorcred"), args...)
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Errorf("mirrorcred %s: exit code %d; want %d\n%s", strings.Join(args, " "), got, want, out)
	}
	if strings.Contains(string(out), azuretest.Canary) {
		t.Errorf("mirrorcred %s prints a secret:\n%s", strings.Join(args, " "), out)
	}
	return string(out)
}
