package node

import (
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
)

// TestDrainOfSeveralKubelets checks that each kubelet has to keep a record of its
// pulls, in its own root directory, before a drain ends by them.
func TestDrainOfSeveralKubelets(t *testing.T) {
	n, host := newNode(t, oneMap)
	apply(t, n)
	host.startKubelet(theFlags...)
	first := host.run[0]
	second := host.process(false, append([]string{"--root-dir=/second"}, theFlags...))
	second.PID = 200
	host.run = []plan.Process{first, second}
	wantLeft(t, apply(t, n), "")
	applyMap(t, n, emptyMap)
	host.after(time.Hour)
	pullIntent(t, n, "quay.io/app:1") // the first has no pull of it
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 200) may not keep records of its pulls")
	write(t, n.path("/second/image_manager/pulling/one"), `{"image":"mcr.microsoft.com/app"}`)
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: the kubelet (process 200) has 1 pull in progress")
	write(t, n.path("/second/image_manager/pulling/one"), `{"image":"quay.io/app"}`)
	wantGone(t, n, apply(t, n))
}

// TestUnseenKubelet checks that a kubelet which may run unseen is waited for: by
// a new source, and by a drain until the credential has expired.
func TestUnseenKubelet(t *testing.T) {
	const unseen = "process 1 is \"sh\" and not a machine's init system"
	n, host := newNode(t, oneMap)
	host.unseen = unseen
	wantLeft(t, apply(t, n), "pending mcr.microsoft.com: cannot tell whether a kubelet runs here: "+unseen+"; if no kubelet runs here, write running = false under [kubelet] in the map, or run this with --no-kubelet")
	wantRouted(t, n, "mcr.microsoft.com", "")
	n.NoKubelet = true
	wantLeft(t, apply(t, n), "")
	n.NoKubelet = false
	applyMap(t, n, emptyMap)
	host.after(time.Hour)
	wantLeft(t, apply(t, n), "draining mcr.microsoft.com: cannot tell whether a kubelet runs here")
	host.after(3 * time.Hour)
	wantGone(t, n, apply(t, n))
}

// TestMapSaysNoKubeletRuns checks that the map may say it too, and that what
// is seen counts nevertheless.
func TestMapSaysNoKubeletRuns(t *testing.T) {
	const says = "[kubelet]\nrunning = false\n"
	n, host := newNode(t, oneMap+says)
	host.unseen = "it is dark"
	wantLeft(t, apply(t, n), "")
	host.startKubelet(theFlags...)
	wantLeft(t, applyMap(t, n, oneMap+says+"[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io/hub\"]\n"), "pending docker.io: the kubelet (process 100) started before")
}
