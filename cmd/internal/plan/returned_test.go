package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestPutBackAnyKill takes a source out of the map and puts it back, with restarts of
// the kubelet between, and kills the runs before each of their steps: whenever the
// source is routed, the kubelet that runs asks for its credential.
func TestPutBackAnyKill(t *testing.T) {
	const most = 9                        // steps of a run
	for _, back := range []int{1, 2, 4} { // as it was, at another mirror, at one that asks for no credential
		for kills := range most * most * 2 {
			first, second, restarts := kills%most, kills/most%most, kills/most/most == 1
			t.Run(fmt.Sprintf("back at mirror %d, killed at %d and %d, a restart between %t", back, first, second, restarts), func(t *testing.T) {
				m, _ := new(player).live(nil, flaw{})
				check := func(what string) {
					t.Helper()
					if m.check(); len(m.failures) > 0 {
						t.Fatalf("%s: %s", what, m.failures)
					}
				}
				apply := func(what string, target, kill int) {
					t.Helper()
					m.says.targets[1], m.says.share[1] = target, target == 4
					m.applyHolding("", kill)
					check(what)
				}
				restart := func() {
					t.Helper()
					m.restartKubelet(1)
					check("the kubelet restarts")
				}
				apply("mapped", 1, 0)
				restart()
				apply("mapped", 1, 0)
				apply("taken out", 0, first)
				if restarts {
					restart()
				}
				apply("put back", back, second)
				restart()
				apply("put back and restarted", back, second)
				for range 3 {
					restart()
					apply("in the end", back, 0)
				}
				if p := m.last; len(p.Pending)+len(p.Draining) > 0 || !m.has(0, "docker.io") {
					t.Errorf("in the end are pending %v and draining %v; want docker.io to be routed", p.Pending, p.Draining)
				}
			})
		}
	}
}

// TestSourceReturnsWhileDraining puts a source back into the map while it drains: it is served as before
// only if each kubelet that runs asks for its credential.
func TestSourceReturnsWhileDraining(t *testing.T) {
	const pending, drains = "started before the source was added to its configuration", "pulls may still use its credential"
	for name, c := range map[string]struct {
		before func(w *world)
		see    func(w *world, o *Observed)
		says   string // "" if it is answered again
		goes   bool
	}{
		"the kubelet runs on": {},
		"the kubelet has started without it": {
			before: func(w *world) { w.startKubelet(true) }, says: pending, goes: true,
		},
		"the kubelet has started, and what it read is not known": {
			before: func(w *world) { w.startKubelet(true) },
			see: func(w *world, o *Observed) {
				o.Kubelet.Version.Stamp, o.Kubelet.Changed = "another program's", w.now
			},
			says: pending, goes: true,
		},
		"one kubelet has started without it, and another one runs on": {
			before: func(w *world) {
				old := w.run[0]
				old.PID++
				w.startKubelet(true)
				w.run = append(w.run, old)
			},
			says: drains,
		},
		"the kubelet's file cannot be changed": {
			see:  func(_ *world, o *Observed) { o.Kubelet.Obstacle = "it is immutable" },
			says: drains,
		},
		"the directory cannot be changed": {
			before: func(w *world) { w.startKubelet(true) },
			see: func(_ *world, o *Observed) {
				o.Obstacles = map[string]string{"docker.io": "it is immutable"}
			},
			says: "it is immutable, and its source was taken out of the map and put back",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(nil)
			mapped := desire("version = 1\n[[mirror]]\nsource = \"docker.io\"\ntargets = [\"contoso.azurecr.io\"]\n")
			out := desire("version = 1\n")
			out.Hold = func(string) bool { return false }
			for _, d := range []Desired{mapped, mapped, out} {
				if _, err := w.apply(d); err != nil {
					t.Fatal(err)
				}
				if len(w.run) == 0 {
					w.startKubelet(true)
				}
			}
			w.after(time.Second)
			if c.before != nil {
				c.before(w)
			}
			o := w.observe(mapped)
			if c.see != nil {
				c.see(w, &o)
			}
			p := makePlan(t, w, mapped, o, nil)
			said := fmt.Sprint(p.Pending, p.Draining, p.Conflicts)
			if isSaid := len(p.Pending)+len(p.Draining)+len(p.Conflicts) > 0; isSaid != (c.says != "") || !strings.Contains(said, c.says) {
				t.Errorf("the plan leaves %s; want %q", said, c.says)
			}
			if err := p.CarryOut(t.Context(), w); err != nil {
				t.Fatal(err)
			}
			if _, stays := w.trees[trees[0]]["docker.io"]; stays == c.goes {
				t.Errorf("it is %t that hosts.toml stays; want %t", stays, !c.goes)
			}
			_, err := w.decided(modelImages[1])
			if isAnswered := err == nil; isAnswered != (c.says == "") && !c.goes {
				t.Errorf("it is answered %v; want an answer: %t", err, c.says == "")
			}
		})
	}
}
