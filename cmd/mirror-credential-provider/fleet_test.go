//go:build linux

package main_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fleet"
	"github.com/mirrorcred/mirrorcred/credential/azure/azuretest"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// The registries of the fleet: one that answers, one that is busy for longer than a run
// lasts, one that is busy and says to come back at once, and one whose tokens do not say
// when they expire.
const (
	goodACR   = "good.azurecr.io"
	otherACR  = "other.azurecr.io"
	busyACR   = "busy.azurecr.io"
	againACR  = "again.azurecr.io"
	opaqueACR = "opaque.azurecr.io"
)

// fleetDay is what each node pulls, one step after the other; the pulls of a step come
// at once. A step without pulls is a reboot.
var fleetDay = [][]string{
	{goodACR, goodACR, goodACR},
	{goodACR},
	{otherACR},
	{busyACR},
	{busyACR},
	{againACR},
	{opaqueACR},
	{opaqueACR},
	nil,
	{goodACR},
	{busyACR},
}

// TestFleet has 50 nodes pull with the built plugin, and 50 simulated ones with the
// simulation of cmd/internal/fleet: the cloud sees the same requests.
func TestFleet(t *testing.T) {
	const nodes = 50
	var simulated map[fleet.Request]int
	synctest.Test(t, func(t *testing.T) { simulated = simulatedFleet(t, nodes) })
	if built := builtFleet(t, nodes); !maps.Equal(built, simulated) {
		t.Errorf("%d built plugins ask %v; the simulation says %v", nodes, built, simulated)
	}
	if simulated[fleet.Request{Host: fleet.IdentityHost}] != 2*nodes || simulated[fleet.Request{Host: busyACR, Path: "/v2/"}] != 2*nodes {
		t.Errorf("the simulation asks %v; want each node to ask for an identity and at the busy registry once a boot", simulated)
	}
}

func simulatedFleet(t *testing.T, nodes int) map[fleet.Request]int {
	cloud := fleet.NewCloud()
	cloud.Replies[fleet.Request{Host: busyACR, Path: "/v2/"}] = fleet.Reply{Status: 429, RetryAfter: "200"}
	cloud.Replies[fleet.Request{Host: againACR, Path: "/v2/"}] = fleet.Reply{Status: 429, RetryAfter: "0"}
	cloud.Replies[fleet.Request{Host: opaqueACR, Path: exchange}] = fleet.Reply{Status: 200, Token: "opaque"}
	var living sync.WaitGroup
	for i := range nodes {
		node := fleet.NewNode(cloud, i)
		living.Go(func() {
			for _, pulls := range fleetDay {
				if pulls == nil {
					node.Reboot()
				}
				together(pulls, func(name string) {
					host, err := mirror.ParseHost(name)
					if err != nil {
						t.Error(err)
						return
					}
					checkPulled(t, name, node.Plugin(t.Context(), host) == nil)
				})
			}
		})
	}
	living.Wait()
	return cloud.Requests()
}

// checkPulled checks which registries give a credential.
func checkPulled(t *testing.T, name string, ok bool) {
	t.Helper()
	if want := name != busyACR && name != againACR; ok != want {
		t.Errorf("%s: there is a credential: %t; want %t", name, ok, want)
	}
}

func together(pulls []string, pull func(string)) {
	var done sync.WaitGroup
	for _, name := range pulls {
		done.Go(func() { pull(name) })
	}
	done.Wait()
}

func builtFleet(t *testing.T, nodes int) map[fleet.Request]int {
	hosts := []string{goodACR, otherACR, busyACR, againACR, opaqueACR}
	cloud, acrs := startCloud(t, hosts...)
	acrs[busyACR].Fail("/v2/", azuretest.Throttle(200))
	acrs[againACR].Fail("/v2/", azuretest.Throttle(0))
	acrs[opaqueACR].Fail(exchange, azuretest.Token("opaque"))
	text := "version = 1\n"
	for _, host := range hosts {
		text += fmt.Sprintf("[[mirror]]\nsource = %q\ntargets = [%q]\n", sourceOf(host), host)
	}
	trees := make([]tree, nodes)
	for i := range trees {
		trees[i] = plant(t, text)
	}
	// A few at a time, as many as the machine has work for.
	free := make(chan struct{}, 4)
	var living sync.WaitGroup
	for _, n := range trees {
		living.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			for _, pulls := range fleetDay {
				if pulls == nil {
					if err := os.RemoveAll(n.tokens()); err != nil {
						t.Error(err)
					}
				}
				together(pulls, func(name string) { checkPulled(t, name, pullOnce(t, cloud, n, name)) })
			}
		})
	}
	living.Wait()
	return requestsOf(t, cloud, acrs)
}

func sourceOf(host string) string { return strings.TrimSuffix(host, ".azurecr.io") + ".example" }

// pullOnce runs the plugin, and returns whether it has a credential.
func pullOnce(t *testing.T, cloud *azuretest.Cloud, n tree, host string) bool {
	cmd := command(t, cloud, names[0], fromRoute, "--root="+n.root)
	cmd.Stdin = strings.NewReader(request(sourceOf(host) + "/image"))
	err := cmd.Run()
	if _, isExit := err.(*exec.ExitError); err != nil && !isExit {
		t.Error(err)
	}
	return err == nil
}

// requestsOf counts the requests to a stand-in as the simulation does.
func requestsOf(t *testing.T, cloud *azuretest.Cloud, acrs map[string]*azuretest.ACR) map[fleet.Request]int {
	t.Helper()
	counts := map[fleet.Request]int{{Host: fleet.IdentityHost}: len(cloud.Identity.Requests())}
	for _, host := range slices.Sorted(maps.Keys(acrs)) {
		for _, r := range acrs[host].Requests() {
			u, err := url.Parse(r.URL)
			if err != nil || r.Method != http.MethodGet && r.Method != http.MethodPost {
				t.Fatalf("%s is asked %s %s: %v", host, r.Method, r.URL, err)
			}
			counts[fleet.Request{Host: u.Hostname(), Path: u.Path}]++
		}
	}
	return counts
}
