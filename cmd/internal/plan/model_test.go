package plan

import (
	"flag"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/route"
)

var (
	modelSeed  = flag.Uint64("model.seed", 1, "run the model with this seed; 0 is any")
	modelSteps = flag.Int("model.steps", 20_000, "how many steps the model makes")
)

// stepsOfALife is how many steps one node lives through.
const stepsOfALife = 250

// TestModel makes random steps of what happens to a node over the years, with
// runs that are killed at any step, and holds the plans against what must hold at
// any moment. A life that fails is made shorter as long as it still fails. For a
// long run: -model.steps=1000000.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	// The garbage of a life is small, and the decoded files are kept for all lives.
	defer debug.SetGCPercent(debug.SetGCPercent(300))
	began := time.Now()
	var changed, kills, next atomic.Int64
	var failed atomic.Pointer[[]event]
	lives := int64(max(1, *modelSteps/stepsOfALife))
	var wait sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wait.Go(func() {
			var player player
			for life := next.Add(1); life <= lives && failed.Load() == nil; life = next.Add(1) {
				events := randomEvents(seed, uint64(life))
				m, log := player.live(events, flaw{})
				changed.Add(int64(m.changed))
				kills.Add(int64(m.kills))
				if log != nil {
					failed.Store(&events)
				}
			}
		})
	}
	wait.Wait()
	if events := failed.Load(); events != nil {
		shorter := shrink(*events, flaw{})
		_, log := new(player).live(shorter, flaw{})
		t.Fatalf("with -model.seed=%d, shrunk to %d steps:\n%s", seed, len(shorter), strings.Join(log, "\n"))
	}
	share := 100 * changed.Load() / (lives * stepsOfALife)
	t.Logf("seed %d: %d steps in %v, of which %d%% change something, and %d kill a run", seed, lives*stepsOfALife, time.Since(began).Round(time.Millisecond), share, kills.Load())
	if share < 50 {
		t.Errorf("of the steps %d%% change something; want half", share)
	}
}

// TestModelFindsFaults plants a fault for each promise, and tells that the model
// notices.
func TestModelFindsFaults(t *testing.T) {
	const most = 400 // lives
	for name, plant := range map[string]flaw{
		"no leak: a route has another registry's credential": {plan: func(p *Plan) {
			for i, c := range p.Changes {
				if c.Stage == StageRoutes && strings.Contains(string(c.New), "fabrikam") {
					r, err := route.Decode(c.New)
					if err != nil {
						panic(err)
					}
					r.Generations[0].Targets[0].Registry = "contoso.azurecr.io"
					p.Changes[i].New, _ = r.Encode()
				}
			}
		}},
		"no gap: the last credential of a list is lost": {plan: func(p *Plan) {
			for i, c := range p.Changes {
				if c.Stage != StageRoutes || !strings.Contains(string(c.New), "spare") {
					continue
				}
				r, err := route.Decode(c.New)
				if err != nil {
					panic(err)
				}
				for _, g := range r.Generations {
					for at, t := range g.Targets {
						g.Targets[at].Credentials = t.Credentials[:min(len(t.Credentials), 1)]
					}
				}
				p.Changes[i].New, _ = r.Encode()
			}
		}},
		"no leak: a drain ends at once": {state: func(s *State) {
			for name, d := range s.Drains {
				d.Since.Since = 0
				s.Drains[name] = d
			}
		}},
		"no gap: a mirror that drains still answers": {plan: func(p *Plan) {
			for i, c := range p.Changes {
				if c.Stage != StageRoutes || c.New == nil {
					continue
				}
				if r, err := route.Decode(c.New); err == nil && r.Withdrawn != "" {
					r.Withdrawn = ""
					p.Changes[i].New, _ = r.Encode()
				}
			}
		}},
		"no gap: routes come after hosts.toml": {plan: func(p *Plan) {
			for i := range p.Changes {
				if p.Changes[i].Stage == StageRoutes {
					p.Changes[i].Stage = StageForget
				}
			}
			sortChanges(p.Changes)
		}},
		"no gap: a kubelet is thought to have read what came later": {state: func(s *State) {
			for i := range s.Provided {
				s.Provided[i].From.Since = 0
			}
		}},
		"ready: a mirror is thought to have waited for long": {state: func(s *State) {
			for key, since := range s.Ready {
				since.Since = 0
				s.Ready[key] = since
			}
		}},
		"not ours, not touched: an edited file is replaced": {desired: func(d *Desired) { d.Adopt = true }},
		"whole or not at all: what goes is removed first": {plan: func(p *Plan) {
			slices.SortStableFunc(p.Changes, func(a, b Change) int { return len(b.Old) - len(a.Old) })
			for i := range p.Changes {
				if p.Changes[i].Stage == StageForget {
					p.Changes[i].Stage = StageCarry
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			var player player
			for life := range most {
				if _, log := player.live(randomEvents(seed, uint64(life)), plant); log != nil {
					t.Logf("found in life %d: %s", life, log[len(log)-1])
					return
				}
			}
			t.Errorf("not found in %d lives with seed %d", most, seed)
		})
	}
}

// TestHeldAfterMove tells that a source whose removal is held goes on being served
// in a new hosts_dir, and that the next run does not take the change for one that
// is still to be made.
func TestHeldAfterMove(t *testing.T) {
	m, _ := new(player).live(nil, flaw{})
	step := func(targets [4]int, tree int, held string) {
		t.Helper()
		m.says.targets, m.says.tree = targets, tree
		m.applyHolding(held, 0)
		m.restartKubelet(1)
		m.applyHolding(held, 0)
		if m.check(); len(m.failures) > 0 {
			t.Fatal(m.failures)
		}
	}
	const mcr = "mcr.microsoft.com"
	step([4]int{1, 0, 0, 0}, 0, "")
	step([4]int{0, 0, 0, 0}, 1, mcr)
	if offers, err := m.decided(modelImages[0]); err != nil || len(offers) != 1 || offers[0].Credential == nil {
		t.Errorf("%s is held in its new directory, and is offered %v, %v; want its credential", mcr, offers, err)
	}
	step([4]int{0, 2, 0, 0}, 1, mcr)
	step([4]int{0, 2, 0, 0}, 1, mcr)
	if !m.has(1, "docker.io") {
		t.Error("a new mirror was taken away, as if hosts_dir had just changed")
	}
}

// TestModelSeeds plays lives again that the model once failed with.
func TestModelSeeds(t *testing.T) {
	for what, lives := range map[string]struct{ seed, first, last uint64 }{
		`another program takes away the directory of a source that "*" then serves, and the source is sent to a registry without a credential while the kubelet may hold that of "*"`: {12007614131934094590, 0, 80},
		"a source comes back while it drains, and before the kubelet restarts it goes again and is held":                                                                              {1, 343, 343},
	} {
		var player player
		for life := lives.first; life <= lives.last; life++ {
			events := randomEvents(lives.seed, life)
			for i := range events {
				events[i].ready = 99 // nothing, as when they failed
			}
			if _, log := player.live(events, flaw{}); log != nil {
				t.Fatalf("%s: seed %d, life %d:\n%s", what, lives.seed, life, strings.Join(log, "\n"))
			}
		}
	}
}
