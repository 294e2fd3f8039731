package node

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"
)

// stockTargets are what the maps of TestStockModel are made of, in which "" means no
// mirror.
var stockTargets = []string{"", "contoso.azurecr.io", "fabrikam.azurecr.io/hub", "mirror.example"}

// stockModelMap returns a map of the sources that acr-credential-provider can
// answer for, with it or with mirrorcred's plugin.
func stockModelMap(targets []int, stock bool) string {
	text := "version = 1\n"
	for i, source := range modelSources {
		if target := stockTargets[targets[i]]; target != "" {
			text += fmt.Sprintf("[[mirror]]\nsource = %q\ntargets = [%q]\n", source, target)
		}
	}
	if stock {
		text += stocked
	}
	return text
}

// TestStockModel makes long random runs in which the map drives now one plugin
// and now the other. If the kubelet is stopped while the node is brought to
// its map, as it is told, nothing leaks and nothing lacks at any moment.
func TestStockModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 17}
	if *modelSeed != 0 {
		seeds = []uint64{*modelSeed}
	}
	for _, seed := range seeds {
		if log, failures := playStock(t, rand.New(rand.NewPCG(seed, 0))); len(failures) > 0 {
			t.Fatalf("with -model.seed=%d:\n%s\n%s", seed, strings.Join(log, "\n"), strings.Join(failures, "\n"))
		}
	}
}

func playStock(t *testing.T, random *rand.Rand) (log, failures []string) {
	p := &probe{TB: t}
	targets, stock := make([]int, len(modelSources)), false
	n, host := newNode(t, stockModelMap(targets, stock))
	defer os.RemoveAll(n.Root)
	if err := os.MkdirAll(n.path("/var/lib/kubelet/image_manager/pulling"), 0o755); err != nil {
		t.Fatal(err)
	}
	var maps []string
	for i := range stockTargets {
		maps = append(maps, stockModelMap([]int{i, i, 0, 0}, true))
	}
	apply(t, n)
	host.startKubelet(theFlags...)
	for range 150 {
		var event string
		switch kind := random.IntN(100); {
		case kind < 30:
			targets[random.IntN(2)] = random.IntN(len(stockTargets))
			write(t, n.Map, stockModelMap(targets, stock))
			event = fmt.Sprintf("the map says %v", targets)
		case kind < 40:
			stock = !stock
			write(t, n.Map, stockModelMap(targets, stock))
			event = fmt.Sprintf("the map drives the stock plugin: %v", stock)
		case kind < 65:
			event = "apply\n" + summary(apply(t, n))
		case kind < 75:
			step := 1 + random.IntN(20)
			killAt(n, step)
			event = fmt.Sprintf("apply, killed at step %d: %v", step, killed(t, n))
			n.disk = disk{}
		case kind < 90:
			host.run = nil
			event = "the kubelet is stopped, and started after\n" + summary(apply(t, n))
			// A drain ends with the next run. A kubelet that starts before that is
			// not told of the source, and if the map names it again then, it is
			// routed without a credential until that kubelet restarts.
			apply(t, n)
			host.startKubelet(theFlags...)
		default:
			d := time.Duration(random.IntN(180)) * time.Second
			host.after(d)
			event = fmt.Sprintf("%s pass", d)
		}
		log = append(log, event)
		if checkWhole(p, n, maps, "now"); len(p.failures) > 0 {
			return log, p.failures
		}
	}
	host.run = nil
	apply(t, n)
	host.startKubelet(theFlags...)
	if left := summary(apply(t, n)); left != "" {
		p.Errorf("in the end the plan leaves:\n%s", left)
	}
	return log, p.failures
}
