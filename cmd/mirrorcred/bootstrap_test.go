package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestBootstrapPage does what docs/bootstrap.md says, on a node without a containerd:
// bake leads to a node in sync, and undo to the node that was there.
func TestBootstrapPage(t *testing.T) {
	n := newReader(t)
	n.write("/var/lib/.keep", "")
	n.write("/etc/containerd/.keep", "")
	n.write("/var/lib/kubelet/credential-provider/mirror-credential-provider", "#!/bin/sh\n") // not beside this binary
	before := append(n.tree(), "/etc/mirrorcred/mirrors.toml")
	slices.Sort(before)
	ran := 0
	n.do("../../docs/bootstrap.md", func(line string) {
		if ran++; !strings.HasPrefix(line, "mirrorcred bootstrap bake") || strings.Contains(line, "-n") {
			return
		}
		for _, name := range []string{"/usr/local/bin/mirrorcred", "/etc/containerd/certs.d/mcr.microsoft.com/hosts.toml", "/etc/systemd/system/mirrorcred.service"} {
			if _, err := os.Stat(filepath.Join(n.root, name)); err != nil {
				t.Errorf("after %s: %v", line, err)
			}
		}
		if out, _ := n.run("mirrorcred apply --detailed-exitcode"); !strings.HasSuffix(out, "in sync: 1 source\n") {
			t.Errorf("apply after bake: %s", out)
		}
	})
	if ran != 4 {
		t.Errorf("%d commands were run; want 4", ran)
	}
	after := n.tree()
	slices.Sort(after)
	if !slices.Equal(after, before) {
		t.Errorf("after undo there is %q; before there was %q", after, before)
	}
}
