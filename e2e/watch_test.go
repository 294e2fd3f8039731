package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// retargets is how often the map is edited.
const retargets = 30

// The map is edited again and again while "mirrorcred watch" runs and the kubelet
// pulls for pods. Once status reports an edit, no pull fails and none goes
// elsewhere, and at no time is the source asked.
func TestRetargetWhileWatching(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	write(t, mapFile, retargeted(0))
	startWatcher(t)
	awaitStep(t, time.Time{})
	push(t, pauseRegistry, "pause", "1")
	k := startKubelet(t, c)
	tr := startTraffic(t, byPods(t, c), func(moment int) string { return nthTarget((moment + 1) / 2) })
	var took []time.Duration
	for n := 1; n <= retargets; n++ {
		tr.settle(2)
		tr.next()
		write(t, mapFile, retargeted(n))
		edited := time.Now()
		awaitStep(t, edited)
		took = append(took, time.Since(edited))
		if data, err := os.ReadFile(hostsFile); err != nil || !strings.Contains(string(data), strings.Replace(nthTarget(n), "/", "/v2/", 1)) {
			t.Fatalf("edit %d: status says that the node is in sync, and %s is not (%v):\n%s", n, hostsFile, err, data)
		}
		tr.next()
	}
	tr.settle(4)
	tr.checkLog(k.Log())
	tr.checkCalm(func(moment int) bool { return moment%2 == 0 })
	slices.Sort(took)
	t.Logf("%d edits; status reported one after %s at the median, %s at most", retargets, took[len(took)/2], took[len(took)-1])
	silent(t, "mcr.microsoft.com")
}

// nthTarget is the target after n edits: each time another registry, and a
// prefix that was never used before.
func nthTarget(n int) string {
	return fmt.Sprintf("%s/t%d", []string{contoso, fabrikam}[n%2], n)
}

func retargeted(n int) string { return strings.ReplaceAll(oneMirror, contoso, nthTarget(n)) }

// A hosts.toml that is deleted while pulls go on is restored, and pulls go on
// with it. The source is not shown a credential by any pull that begins after
// that.
//
// Nothing can help those in progress at that moment: whoever pulls has its
// credential then, and containerd looks into the file after that, more than
// once.
func TestHostsDeletedWhileWatching(t *testing.T) {
	freshNode(t)
	c := startContainerd(t, versions()[0])
	apply(t, oneMirror, 0)
	startWatcher(t)
	awaitStep(t, time.Time{})
	want, err := os.ReadFile(hostsFile)
	check(t, err)
	// The moments: all is calm, the file is being deleted, it is being put back.
	const calm, deletion, cycle = 0, 1, 3
	sawDeletion := func(p *pulled) bool {
		for moment := p.begun; moment <= p.ended; moment++ {
			if moment%cycle == deletion {
				return true
			}
		}
		return false
	}
	tr := startTraffic(t, byCRI(t, c), func(int) string { return contoso })
	// Not more often: that would be a fight, which the watcher does not take on.
	for range 4 {
		tr.settle(4)
		tr.next()
		check(t, os.Remove(hostsFile))
		tr.next()
		within(t, 10*time.Second, func() error {
			if data, err := os.ReadFile(hostsFile); err != nil || !bytes.Equal(data, want) {
				return fmt.Errorf("%s is not back (%v):\n%s", hostsFile, err, data)
			}
			return nil
		})
		tr.next()
	}
	tr.settle(4)
	tr.checkCalm(func(moment int) bool { return moment%cycle == calm })

	source := world.sources["mcr.microsoft.com"]
	across := 0
	for _, r := range source.Offered() {
		number, _ := tr.pullOf("", r)
		if number < 0 || !sawDeletion(tr.pulls[number]) {
			t.Errorf("the source was shown a credential: %s %s", r.Method, r.URL)
			continue
		}
		across++
	}
	t.Logf("the source was asked %d times, and %d times with the credential of a pull that had it when the file was deleted", len(source.Requests()), across)
}

// startWatcher starts "mirrorcred watch" with flags, and ends it with the test.
func startWatcher(t *testing.T, flags ...string) {
	t.Helper()
	var log bytes.Buffer
	watcher := exec.Command(program("mirrorcred"), append([]string{"watch"}, flags...)...)
	watcher.Stderr = &log
	check(t, watcher.Start())
	t.Cleanup(func() {
		watcher.Process.Signal(os.Interrupt)
		if err := watcher.Wait(); err != nil {
			t.Errorf("mirrorcred watch: %v", err)
		}
		if t.Failed() {
			t.Logf("--- mirrorcred watch, its log:\n%s", log.String())
		}
	})
}

// awaitStep waits until "mirrorcred status" says that a pass, which began after
// a moment, found or left it in sync with the map.
func awaitStep(t *testing.T, after time.Time) {
	t.Helper()
	within(t, 30*time.Second, func() error {
		out, err := exec.CommandContext(t.Context(), program("mirrorcred"), "status", "--json").Output()
		var s struct {
			LastReconcile time.Time `json:"last_reconcile"`
			InSync        bool      `json:"in_sync"`
		}
		if err := errors.Join(err, json.Unmarshal(out, &s)); err != nil {
			return err
		}
		if !s.InSync || !s.LastReconcile.After(after) {
			return fmt.Errorf("mirrorcred status: not in sync yet:\n%s", out)
		}
		return nil
	})
}
