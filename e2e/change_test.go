package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

const twoMirrors = oneMirror + `
[[mirror]]
source  = "quay.io"
targets = ["contoso.azurecr.io/quay"]
`

// A kubelet that runs does not know of a source that is new. Until it has been
// restarted, the source is pulled from as before and the others as mirrored.
func TestNewSourceWaitsForTheKubelet(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	k := startKubelet(t, c)
	pushRandom(t, contoso, "new/app", "1")
	pushRandom(t, contoso, "quay/new/app", "1")

	if said := apply(t, twoMirrors, 2); !strings.Contains(said, "pending  quay.io") {
		t.Errorf("mirrorcred apply does not say that quay.io is pending:\n%s", said)
	}
	if err := pull(t.Context(), c, "mcr.microsoft.com/new/app", "1"); err != nil {
		t.Errorf("the old mirror: %v", err)
	}
	if err := pull(t.Context(), c, "quay.io/new/app", "1"); err == nil {
		t.Error("the new mirror serves already")
	}
	unoffered(t, "quay.io")

	k.Stop()
	startKubelet(t, c)
	apply(t, twoMirrors, 0)
	forget()
	if err := pull(t.Context(), c, "quay.io/new/app", "1"); err != nil {
		t.Errorf("after the restart: %v", err)
	}
	silent(t, "quay.io")
}

// A removed mirror stays, without its credential, as long as the kubelet may
// have that credential in its hands.
func TestRemovedMirrorDrains(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, twoMirrors, 0)
	k := startKubelet(t, c)

	if said := apply(t, oneMirror, 2); !strings.Contains(said, "draining quay.io") {
		t.Errorf("mirrorcred apply does not say that quay.io is draining:\n%s", said)
	}
	if list, err := answer(t.Context(), "quay.io/drain/app"); err == nil || len(list) > 0 {
		t.Errorf("the plugin answers for a mirror that was removed: %d credentials", len(list))
	}
	err := pull(t.Context(), c, "quay.io/drain/app", "1")
	if err == nil || !strings.Contains(err.Error(), "drained") {
		t.Errorf("a pull that is not to be: %v; want the plugin's reason", err)
	}
	silent(t, "quay.io")

	k.Stop()
	apply(t, oneMirror, 0)
	if _, err := os.Stat(node.HostsDir + "/quay.io"); !os.IsNotExist(err) {
		t.Errorf("the namespace of quay.io is still there: %v", err)
	}
}

// If the identity service hangs, the plugin ends by itself, and the reason
// is in the kubelet's log.
func TestIdentityHangs(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	push(t, contoso, "app/hello", "1")
	push(t, pauseRegistry, "pause", "1")
	k := startKubelet(t, c)
	world.cloud.Identity.Fail("", azuretest.Hang())
	if err := node.RunPod("hangs", "mcr.microsoft.com/app/hello:1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 55*time.Second)
	defer cancel()
	err := node.Until(ctx, func() error {
		for _, line := range strings.Split(k.Log(), "\n") {
			if strings.Contains(line, "mirror-credential-provider") && strings.Contains(line, "no answer from 169.254.169.254") {
				return nil
			}
		}
		return fmt.Errorf("the kubelet's log has no reason of the plugin's")
	})
	if err != nil {
		t.Error(err)
	}
	silent(t, "mcr.microsoft.com")

	// When the service is back, so is the pod.
	world.cloud.Identity.Repair()
	runs(t, c, "hangs")
	silent(t, "mcr.microsoft.com")
}

// A mirror is pointed elsewhere while pulls go on. Those that begin after
// apply has said so go to the new target; at no time is the source asked.
func TestRetargetWhilePulling(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	const before, during = 0, 1 // moments
	tr := startTraffic(t, byCRI(t, c), func(moment int) string {
		if moment <= before {
			return contoso
		}
		return fabrikam
	})
	tr.settle(40)
	tr.next()
	apply(t, strings.ReplaceAll(oneMirror, contoso, fabrikam), 0)
	tr.next()
	tr.settle(40)
	tr.checkCalm(func(moment int) bool { return moment != during })
	silent(t, "mcr.microsoft.com")
}
