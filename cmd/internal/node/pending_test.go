package node

import (
	"os"
	"strings"
	"testing"
)

const kubeletFile = "/var/lib/kubelet/credential-provider-config.yaml"

// TestPending checks how a new source waits for the kubelet.
func TestPending(t *testing.T) {
	n, host := newNode(t, oneMap)
	host.startKubelet(theFlags...)
	started := "pending mcr.microsoft.com: the kubelet (process 100) started before the source was added to its configuration; restart it: systemctl restart kubelet"
	wantLeft(t, apply(t, n), started)
	wantRouted(t, n, "mcr.microsoft.com", "")
	before := tree(t, n.Root, true)
	wantLeft(t, apply(t, n), started)
	sameTree(t, tree(t, n.Root, true), before)

	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")

	// Retargeting needs no restart: the kubelet asks for the source already.
	wantLeft(t, applyMap(t, n, otherMap), "")
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
}

func TestPendingRoutesAsBefore(t *testing.T) {
	n, host := newNode(t, anonymousMap)
	host.startKubelet()
	// No credential is needed, so nothing waits, whatever the kubelet.
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
	wantLeft(t, applyMap(t, n, oneMap), "pending mcr.microsoft.com: the kubelet (process 100) runs without --image-credential-provider-config=")
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
	if offers, err := decided(t, n, "mcr.microsoft.com"); err != nil || len(offers) > 0 {
		t.Errorf("while it is pending the answer is %v, %v; want nothing", offers, err)
	}
}

// TestKubeletFlags checks what is reported for a kubelet that runs with another
// configuration than mirrorcred's.
func TestKubeletFlags(t *testing.T) {
	config, dir := theFlags[0], "--image-credential-provider-bin-dir=/var/lib/kubelet/credential-provider"
	tests := map[string]struct {
		args []string
		want string
	}{
		"none":          {nil, "pending mcr.microsoft.com: the kubelet (process 100) runs without --image-credential-provider-config=" + kubeletFile + "; run \"mirrorcred bootstrap join\", or start it with that flag and " + dir},
		"other file":    {[]string{"--image-credential-provider-config=/etc/other.yaml", dir}, "pending mcr.microsoft.com: the kubelet (process 100) runs with --image-credential-provider-config=/etc/other.yaml, but mirrorcred writes \"" + kubeletFile + "\", the path of its unit or else the default; restart it"},
		"not the map's": {[]string{"--image-credential-provider-config=/etc/other.yaml", dir}, "pending mcr.microsoft.com: the kubelet (process 100) runs with --image-credential-provider-config=/etc/other.yaml, but the map has config = \"" + kubeletFile + "\" under [kubelet]; remove config and bin_dir from the map"},
		"other binary":  {[]string{config, "--image-credential-provider-bin-dir=/opt/bin"}, "pending mcr.microsoft.com: the kubelet (process 100) runs without " + dir + "; start it with that flag, or write its directory as bin_dir"},
		"both":          {[]string{config, dir}, ""},
		"two words":     {[]string{"--image-credential-provider-config", kubeletFile, dir + "/"}, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := oneMap
			if name == "not the map's" {
				text += "\n[kubelet]\nconfig = \"" + kubeletFile + "\"\n"
			}
			n, host := newNode(t, text)
			apply(t, n)
			if err := os.RemoveAll(n.path("/etc/containerd/certs.d/mcr.microsoft.com")); err != nil {
				t.Fatal(err)
			}
			host.startKubelet(test.args...)
			wantLeft(t, apply(t, n), test.want)
		})
	}
}

func TestEmbeddedKubelet(t *testing.T) {
	n, host := newNode(t, oneMap)
	host.start(true, nil)
	wantLeft(t, apply(t, n), "pending mcr.microsoft.com: the kubelet (process 100) started before")
	host.start(true, nil)
	wantLeft(t, apply(t, n), "") // its flags cannot be seen
}

func TestNoKubelet(t *testing.T) {
	n, _ := newNode(t, oneMap)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
}

// TestMatchAny checks that a source which the kubelet's patterns match already
// does not wait.
func TestMatchAny(t *testing.T) {
	const matchAny = "[kubelet]\nmatch = \"any\"\n"
	n, host := newNode(t, oneMap+matchAny)
	apply(t, n)
	host.startKubelet(theFlags...)
	more := oneMap + "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n"
	wantLeft(t, applyMap(t, n, more+matchAny), "")
	wantRouted(t, n, "quay.io", "contoso.azurecr.io/v2/quay")
	// One with a port is matched by name alone.
	more += "[[mirror]]\nsource = \"quay.io:5000\"\ntargets = [\"contoso.azurecr.io/quay\"]\n"
	wantLeft(t, applyMap(t, n, more+matchAny), "pending quay.io:5000: ")
}

// moreMirrors is one more for a map.
const moreMirrors = "[[mirror]]\nsource = \"quay.io\"\ntargets = [\"contoso.azurecr.io/quay\"]\n"

// TestLostState checks that a lost or torn state only makes the next run wait
// longer than it has to.
func TestLostState(t *testing.T) {
	for name, torn := range map[string]string{"gone": "", "torn": `{"provided":[{"fr`, "not ours": "[]"} {
		t.Run(name, func(t *testing.T) {
			n, host := newNode(t, oneMap)
			apply(t, n)
			host.startKubelet(theFlags...)
			write(t, n.path(stateFile), torn)
			// The kubelet's file is older than the kubelet, so that has read it.
			wantLeft(t, apply(t, n), "")
			wantLeft(t, applyMap(t, n, otherMap), "")
			wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")

			// A file that is not, it may not have read.
			wantLeft(t, applyMap(t, n, otherMap+moreMirrors), "pending quay.io: the kubelet (process 100) started before")
			write(t, n.path(stateFile), torn)
			wantLeft(t, apply(t, n), "pending mcr.microsoft.com: active, but its pulls may have no credential: ")
			wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")
			wantRouted(t, n, "quay.io", "")
			host.startKubelet(theFlags...)
			wantLeft(t, apply(t, n), "")
			wantRouted(t, n, "quay.io", "contoso.azurecr.io")
		})
	}
}

// TestKubeletFileEdited checks that a kubelet which may have started with
// another program's file is not trusted with a new source.
func TestKubeletFileEdited(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	write(t, n.path(kubeletFile), otherProvider)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, otherMap), "pending mcr.microsoft.com: the kubelet (process 100) started before")
	data, err := os.ReadFile(n.path(kubeletFile))
	if err != nil || !strings.HasPrefix(string(data), otherProvider) || !strings.Contains(string(data), "mcr.microsoft.com") {
		t.Errorf("the kubelet's file is %q, %v; want the other provider as it was, and ours", data, err)
	}
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "fabrikam.azurecr.io")

	// Another provider's line does not matter.
	write(t, n.path(kubeletFile), strings.Replace(string(data), "other.example", "another.example", 1))
	wantLeft(t, applyMap(t, n, oneMap), "")
}

// TestRoutedButUnmatched checks that a source which is routed, and which a kubelet
// is sure not to ask for, is not called in sync.
func TestRoutedButUnmatched(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	host.startKubelet()
	wantLeft(t, apply(t, n), "pending mcr.microsoft.com: active, but its pulls have no credential: the kubelet (process 100) runs without --image-")

	// Taken out and put back, with a restart of the kubelet between.
	host.startKubelet(theFlags...)
	apply(t, n)
	applyMap(t, n, emptyMap)
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, oneMap), "pending mcr.microsoft.com: the kubelet (process 100) started before the source was added to its configuration")
	wantRouted(t, n, "mcr.microsoft.com", "")
	host.startKubelet(theFlags...)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "contoso.azurecr.io")
}
