//go:build linux

package main_test

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/audit"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// TestFailureIsRemembered checks that a node with a broken identity asks once
// in some seconds, whatever it pulls, and says so.
func TestFailureIsRemembered(t *testing.T) {
	cloud, _ := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
	cloud.Identity.Fail("", azuretest.Echo(http.StatusBadRequest))
	n := plant(t, toBoth)
	const remembered = "remembered since "
	for i, image := range []string{mcrImage, mcrImage, "quay.io/x", "mcr.microsoft.com/y"} {
		got := run(t, cloud, names[0], request(image), fromRoute, "--root="+n.root)
		if got.code != 1 || !strings.Contains(got.stderr, "managed identity: ") || strings.Count(got.stderr, remembered) != min(i, 1) {
			t.Errorf("run %d exits %d with %s", i, got.code, got.stderr)
		}
	}
	if identity, _ := asked(cloud); identity != 1 {
		t.Errorf("%d requests for an identity; want 1", identity)
	}
	checkCache(t, n)
	for _, e := range readEvents(t, n) {
		if e.Outcome != audit.Failed || !strings.Contains(e.Reason, "managed identity: ") || !strings.Contains(e.Targets[0].Failure, "managed identity: ") {
			t.Errorf("the log has %+v", e)
		}
	}
}

// TestBusyIsLeftAlone checks that a server which asks for a minute gets it: no run
// asks again before, and says so.
func TestBusyIsLeftAlone(t *testing.T) {
	for name, who := range map[string]func(*azuretest.Cloud, *azuretest.ACR) *azuretest.Component{
		"registry": func(_ *azuretest.Cloud, acr *azuretest.ACR) *azuretest.Component { return acr.Component },
		"identity": func(cloud *azuretest.Cloud, _ *azuretest.ACR) *azuretest.Component { return cloud.Identity },
	} {
		cloud, acrs := startCloud(t, "foo.azurecr.io", "bar.azurecr.io")
		busy := who(cloud, acrs["foo.azurecr.io"])
		busy.Fail("", azuretest.Throttle(60))
		n := plant(t, toBoth)
		var got result
		for range 3 {
			got = run(t, cloud, names[0], request(mcrImage), fromRoute, "--root="+n.root)
			if got.code != 1 {
				t.Errorf("%s: it exits %d", name, got.code)
			}
		}
		times := regexp.MustCompile(`remembered since (\S+); not tried again before (\S+)\)`).FindStringSubmatch(got.stderr)
		if times == nil {
			t.Fatalf("%s: it says %s", name, got.stderr)
		}
		since, err := time.Parse("15:04:05.000Z07:00", times[1])
		until, err2 := time.Parse("15:04:05.000Z07:00", times[2])
		if waits := (until.Sub(since) + 24*time.Hour) % (24 * time.Hour); err != nil || err2 != nil || waits != time.Minute {
			t.Errorf("%s: it waits %s, %v, %v: %s", name, waits, err, err2, got.stderr)
		}
		if asked := len(busy.Requests()); asked != 1 {
			t.Errorf("%s: it was asked %d times; want once", name, asked)
		}
	}
}

// TestNoCache holds when nothing is kept: if it is turned off, and in the
// mode of acr-credential-provider.
func TestNoCache(t *testing.T) {
	for name, c := range map[string]struct {
		args    []string
		request string
	}{
		"turned off": {[]string{fromRoute, "--token-cache="}, request(mcrImage)},
		"by flags":   {[]string{mirror.DefaultAzureConfig, "-r", both}, request(mcrImage)},
	} {
		cloud, _ := startCloud(t, "foo.azurecr.io")
		n := plant(t, toFoo)
		for range 2 {
			if got := run(t, cloud, names[0], c.request, append(c.args, "--root="+n.root)...); got.code != 0 {
				t.Errorf("%s: %s", name, got.stderr)
			}
		}
		if identity, _ := asked(cloud); identity != 2 {
			t.Errorf("%s: %d requests for an identity; want 2", name, identity)
		}
		if files, _ := filepath.Glob(n.tokens() + "/*"); len(files) > 0 {
			t.Errorf("%s: the cache holds %q", name, files)
		}
	}
}

// TestNoCacheOfPod checks that what a pod's own token gets is not kept.
func TestNoCacheOfPod(t *testing.T) {
	cloud, acr, _ := startPodCloud(t)
	n := plant(t, noMirror)
	for range 2 {
		if got := run(t, cloud, names[0], ofPod("foo.azurecr.io/x", podBoth), fromRoute, "--root="+n.root); got.code != 0 {
			t.Fatal(got.stderr)
		}
	}
	if _, exchanges := asked(cloud, acr); exchanges[0] != 2 {
		t.Errorf("%d exchanges; want 2", exchanges[0])
	}
	if files, _ := filepath.Glob(n.tokens() + "/*"); len(files) > 0 {
		t.Errorf("the cache holds %q", files)
	}
}
