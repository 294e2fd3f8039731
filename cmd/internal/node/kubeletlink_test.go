package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestKubeletLinkNowhere checks what to do about a link in the kubelet's directory
// of providers that leads nowhere.
func TestKubeletLinkNowhere(t *testing.T) {
	n, _ := newNode(t, portMap+"[kubelet]\nconfig = \"/var/lib/kubelet/providers\"\nversion = \"1.34\"\n")
	link := n.path("/var/lib/kubelet/providers/y.yaml")
	mkdir(t, filepath.Dir(link))
	if err := os.Symlink("gone", link); err != nil {
		t.Fatal(err)
	}
	want := link + ": this symbolic link leads nowhere; create its target, or remove it"
	if _, err := n.Plan(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Plan = %v; want %q", err, want)
	}
}
