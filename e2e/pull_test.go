package e2e

import "testing"

// pauseImage is what containerd runs in each pod besides its containers. It
// pulls it itself, without a credential.
const (
	pauseRegistry = "pause.azurecr.io"
	pauseImage    = pauseRegistry + "/pause:1"
)

// oneMirror is the map of the tests that need but one mirror.
const oneMirror = `
version = 1

[[mirror]]
source  = "mcr.microsoft.com"
targets = ["contoso.azurecr.io"]
`

// The product in one test, short of the kubelet: an image is named by its
// source, mirrorcred's plugin answers with its target's credential, and a real
// containerd gets it from there. The source hears nothing of it.
func TestPull(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	push(t, contoso, "app/hello", "1")

	if err := pull(t.Context(), c, "mcr.microsoft.com/app/hello", "1"); err != nil {
		t.Error(err)
	}
	credited(t, contoso, "app/hello")
	silent(t, "mcr.microsoft.com")
}
