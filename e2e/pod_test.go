package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// The product whole: "mirrorcred apply" sets the node up, a kubelet is started
// on the files that it wrote, and a pod whose image is named by the source
// runs. The kubelet executes the plugin by itself.
func TestPod(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	push(t, contoso, "app/hello", "1")
	push(t, pauseRegistry, "pause", "1")
	startKubelet(t, c)

	if err := node.RunPod("hello", "mcr.microsoft.com/app/hello:1"); err != nil {
		t.Fatal(err)
	}
	runs(t, c, "hello")
	credited(t, contoso, "app/hello")
	silent(t, "mcr.microsoft.com")
}

// startKubelet starts a kubelet with the files that apply writes and further flags,
// and stops it and its pods when the test ends.
func startKubelet(t *testing.T, c *node.Containerd, flags ...string) *node.Kubelet {
	t.Helper()
	k, err := node.StartKubelet(t.Context(), program("kubelet"), append(flags,
		"--image-credential-provider-config="+providerConfig, "--image-credential-provider-bin-dir="+providerBin)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(k.Tail(40))
		}
		k.Stop()
		node.RemovePods()
		if err := c.RemovePods(context.Background()); err != nil {
			t.Log(err)
		}
	})
	return k
}

// runs fails the test if a container does not run within a minute.
func runs(t *testing.T, c *node.Containerd, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Running(ctx, name); err != nil {
		t.Fatal(strings.TrimSpace(err.Error()))
	}
}

// A kubelet starts with a provider that is handed pods' tokens, and pods that
// need none run, as do those without a service account at a mirror that takes
// one although it can get along without it.
//
// There is no API server, so that no pod has a token here: see e2e/kubelet for
// those that do.
func TestPodBesideTokens(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	const tokens = `
[registry."partner.azurecr.io"]
[registry."quay.corp"]
credential = "pods"
[credential.azure]
kind     = "azure"
audience = "api://AzureADTokenExchange"
[credential.pods]
kind     = "service-account-token"
username = "robot"
audience = "quay.corp"
`
	apply(t, oneMirror+tokens, 0)
	push(t, contoso, "app/hello", "1")
	push(t, partner, "app/direct", "1")
	push(t, pauseRegistry, "pause", "1")
	k := startKubelet(t, c)
	check(t, node.RunPod("hello", "mcr.microsoft.com/app/hello:1"))
	runs(t, c, "hello")
	credited(t, contoso, "app/hello")
	check(t, node.RunPod("direct", partner+"/app/direct:1"))
	runs(t, c, "direct")
	credited(t, partner, "app/direct")
	silent(t, "mcr.microsoft.com")

	more := tokens + "[registry.\"registry.corp\"]\ncredential = \"pods\"\n"
	if said := apply(t, oneMirror+more, 2); !strings.Contains(said, "pending  registry.corp: the kubelet") {
		t.Errorf("mirrorcred apply does not say that registry.corp is pending:\n%s", said)
	}
	k.Stop()
	startKubelet(t, c)
	apply(t, oneMirror+more, 0)
}
