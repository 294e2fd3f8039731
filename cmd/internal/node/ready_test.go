package node

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

const readyMap = `version = 1
[[mirror]]
source = "mcr.microsoft.com"
targets = ["mirror.example"]
ready = "60s"
`

const notReady = "pending mcr.microsoft.com: \"mirror.example\" does not answer yet"

// TestReady holds that a mirror waits over several runs until its first target has
// answered, and that a file of another name is not an answer.
func TestReady(t *testing.T) {
	n, host := newNode(t, readyMap)
	wantLeft(t, apply(t, n), notReady)
	host.after(30 * time.Second)
	key := readyKey(t, n)
	write(t, n.path(plan.ReadyDir, key), "")
	write(t, n.path(plan.ReadyDir, strings.Repeat("0", len(key))+plan.ReadySuffix), "")
	wantLeft(t, apply(t, n), notReady)
	wantRouted(t, n, "mcr.microsoft.com", "")
	write(t, n.path(plan.ReadyDir, key+plan.ReadySuffix), "")
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
}

// TestReadyAsks holds that registries are asked until each first target has answered
// since the start of the machine, whether its mirror is on or not, and that an answer
// calls for another pass.
func TestReadyAsks(t *testing.T) {
	n, host := newNode(t, readyMap)
	asks := func(when string, want bool) {
		t.Helper()
		apply(t, n)
		if _, err := os.Lstat(n.path(DeliverWanted)); (err == nil) != want {
			t.Errorf("%s: asks %t (%v); want %t", when, err == nil, err, want)
		}
	}
	asks("at first", true)
	if !slices.Contains(n.Watched(), n.path(plan.ReadyDir, "*")) {
		t.Errorf("the answers are not watched: %q", n.Watched())
	}
	host.after(time.Minute)
	asks("when its time is over", true)
	answer := n.path(plan.ReadyDir, readyKey(t, n)+plan.ReadySuffix)
	write(t, answer, "")
	asks("when it has answered", false)
	if err := os.Remove(answer); err != nil {
		t.Fatal(err)
	}
	asks("after a reboot", true)
	write(t, answer, "")
	write(t, n.Map, strings.Replace(readyMap, "mirror.example", "other.example", 1))
	asks("another first target", true)
	write(t, n.Map, strings.Replace(readyMap, "ready = \"60s\"\n", "", 1))
	asks("without ready", false)
}

// TestReadyInTime holds that the time goes on over several runs, and begins anew after a
// reboot.
func TestReadyInTime(t *testing.T) {
	n, host := newNode(t, readyMap)
	wantLeft(t, apply(t, n), notReady)
	host.reboot()
	host.after(2 * time.Hour) // more than the other boot has lasted
	wantLeft(t, apply(t, n), notReady)
	host.after(59 * time.Second)
	wantLeft(t, apply(t, n), notReady)
	host.after(time.Second)
	wantLeft(t, apply(t, n), "")
	wantRouted(t, n, "mcr.microsoft.com", "mirror.example")
}

// TestUnready holds which mirrors are asked before an apply by hand: those that no
// hosts.toml of mirrorcred's asks first.
func TestUnready(t *testing.T) {
	n, host := newNode(t, readyMap+"[[mirror]]\nsource = \"quay.io\"\ntargets = [\"mirror.example\"]\n")
	count := func(want int) {
		t.Helper()
		m, err := n.ReadMap()
		if err != nil {
			t.Fatal(err)
		}
		if list := n.Unready(m); len(list) != want {
			t.Errorf("%d mirrors wait: %v; want %d", len(list), list, want)
		}
	}
	count(1)
	apply(t, n)
	host.after(time.Minute)
	apply(t, n)
	count(0)
	write(t, n.Map, strings.Replace(readyMap, "mirror.example", "other.example", 1))
	count(1)
}

// TestReadyBelowRoot holds that answers of this machine do not count for an image.
func TestReadyBelowRoot(t *testing.T) {
	n, _ := newNode(t, readyMap)
	write(t, n.path(plan.ReadyDir, readyKey(t, n)+plan.ReadySuffix), "")
	n.elsewhere = true
	wantLeft(t, apply(t, n), notReady+", as nothing is asked from here")
	wantRouted(t, n, "mcr.microsoft.com", "")
}

func readyKey(t *testing.T, n *Node) string {
	t.Helper()
	m, err := n.ReadMap()
	if err != nil {
		t.Fatal(err)
	}
	return m.Mirrors[0].ReadyKey()
}
