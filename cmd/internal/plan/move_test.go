package plan

import (
	"fmt"
	"testing"
	"time"
)

// TestMovedBackAnyKill changes hosts_dir and changes it back, after the node has
// booted, and kills the run that carries the files over before each of its steps.
// Meanwhile the map has other mirrors: the next run does not bring back the file of a
// mirror that the killed one has removed, without the answers for it.
func TestMovedBackAnyKill(t *testing.T) {
	for kill := 1; kill <= 30; kill++ {
		t.Run(fmt.Sprintf("killed at %d", kill), func(t *testing.T) {
			m, _ := new(player).live(nil, flaw{})
			apply := func(what string, kill int) {
				t.Helper()
				m.applyHolding("", kill)
				if m.check(); len(m.failures) > 0 {
					t.Fatalf("%s: %s", what, m.failures)
				}
			}
			m.says.targets = [4]int{3, 2, 0, 3}
			apply("in the first directory", 0)
			m.restartKubelet(0)
			apply("in the first directory, and the kubelet asks", 0)
			m.says.targets, m.says.tree, m.down = [4]int{3, 0, 2, 0}, 1, true
			apply("in the second one", 0)
			m.says.targets, m.says.tree, m.down = [4]int{3, 3, 2, 0}, 0, true
			m.now = Moment{m.now.Boot + "'", time.Minute}
			m.restartKubelet(0)
			apply("in the first one again, killed", kill)
			apply("after that", 0)
			m.restartKubelet(0)
			apply("in the end", 0)
			if p := m.last; len(p.Pending)+len(p.Draining) > 0 || !m.has(0, "docker.io") {
				t.Errorf("in the end are pending %v and draining %v; want docker.io to be routed", p.Pending, p.Draining)
			}
		})
	}
}
