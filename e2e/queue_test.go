package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/e2e/node"
)

// pulling is where the kubelet notes the pulls that it has begun or queued.
const pulling = node.KubeletRoot + "/image_manager/pulling"

// The kubelet asks for a credential before it queues a pull, and pulls one
// image after the other. A mirror that is removed while such a pull is queued
// stays until that pull is done: the source is not shown the credential, and
// the pull does not fail.
//
// It takes more than a minute, which is how long apply waits for pulls that may have
// the credential before it trusts the kubelet's notes.
func TestRemovedWhileAPullIsQueued(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, twoMirrors, 0)
	push(t, pauseRegistry, "pause", "1")
	pushRandom(t, public, "slow/app", "1") // no part of it is on the node
	push(t, contoso, "quay/queued/app", "1")
	done, asked := hold(world.acr[public].Component, "/v2/slow/app/blobs/")
	t.Cleanup(done)
	startKubelet(t, c)
	check(t, node.RunPod("slow", public+"/slow/app:1"))
	within(t, time.Minute, asked)
	check(t, node.RunPod("queued", "quay.io/queued/app:1"))
	within(t, time.Minute, queued)

	drains := func(why string) func() error {
		return func() error {
			if said := apply(t, oneMirror, 2); !strings.Contains(said, why) {
				return fmt.Errorf("mirrorcred apply says something else than %q:\n%s", why, said)
			}
			return nil
		}
	}
	check(t, drains("may still use its credential")())
	within(t, 90*time.Second, drains("has 1 pull in progress"))
	done()
	runs(t, c, "queued")
	credited(t, contoso, "quay/queued/app")
	apply(t, oneMirror, 0)
	if _, err := os.Stat(node.HostsDir + "/quay.io"); !os.IsNotExist(err) {
		t.Errorf("the namespace of quay.io is still there: %v", err)
	}
	silent(t, "quay.io")
}

// hold has a component begin its answers below path and then wait until done is
// called, which breaks them off; asked has no error once there was one.
//
// It must begin: containerd waits for an answer's header for 30 s only, and for
// more of a body for minutes.
func hold(c *azuretest.Component, path string) (done func(), asked func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	var held atomic.Bool
	c.Fail("", func(e *azuretest.Exchange) bool {
		if !strings.HasPrefix(e.R.URL.Path, path) || ctx.Err() != nil {
			return false
		}
		e.W.Header().Set("Content-Length", "1000")
		e.W.WriteHeader(http.StatusOK)
		http.NewResponseController(e.W).Flush()
		held.Store(true)
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	})
	return cancel, func() error {
		if !held.Load() {
			return fmt.Errorf("no one asked for anything below %s", path)
		}
		return nil
	}
}

// queued has no error once the kubelet has noted a pull from quay.io, for which
// it has the credential then.
func queued() error {
	entries, err := os.ReadDir(pulling)
	for _, e := range entries {
		data, _ := os.ReadFile(pulling + "/" + e.Name())
		if strings.Contains(string(data), "quay.io/") {
			return nil
		}
	}
	return fmt.Errorf("of %d pulls none is from quay.io (%v)", len(entries), err)
}

// within fails the test if probe still has an error after some time.
func within(t *testing.T, limit time.Duration, probe func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := node.Until(ctx, probe); err != nil {
		t.Fatal(err)
	}
}
