package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A given is what was handed over for each of the deliverable registries.
type given [len(deliverable)]handed

// A handed is what was handed over for a credential; serial 0 means nothing.
type handed struct {
	serial int
	until  time.Duration // on the wall clock; 0 for no end
	realm  bool
}

func (h handed) ended(wall time.Duration) bool { return h.until > 0 && wall >= h.until }

// state is equal for what makes the same files at that time.
func (g given) state(wall time.Duration) []string {
	var list []string
	for _, h := range g {
		list = append(list, fmt.Sprint(h.serial, h.realm, h.ended(wall)))
	}
	return list
}

// canary is the header of a registry.
func canary(registry string, serial int) string { return fmt.Sprintf("Basic %s/%d", registry, serial) }

// each calls do for each delivered target of a map, with its registry's place in the list.
func each(m *mirror.Map, do func(key string, at int)) {
	for _, one := range m.Mirrors {
		for _, t := range one.Targets {
			if key, ok := t.Delivery(); ok {
				do(key, slices.Index(deliverable[:], t.Host().String()))
			}
		}
	}
}

func (g given) deliveries(m *mirror.Map) map[string]Delivery {
	list := map[string]Delivery{}
	each(m, func(key string, at int) {
		h := g[at]
		d := Delivery{Missing: h.serial == 0, Realm: h.realm}
		if h.until > 0 {
			d.Until = time.Unix(0, int64(h.until))
		}
		list[key] = d
	})
	return list
}

func (g given) values(m *mirror.Map) map[string]string {
	list := map[string]string{}
	each(m, func(key string, at int) {
		if list[key] = canary(deliverable[at], g[at].serial); g[at].serial == 0 {
			list[key] = "missing"
		}
	})
	return list
}

// happenDelivered is [model.happen] for what happens to delivered credentials.
func (m *model) happenDelivered(e event) string {
	at := e.arg % len(deliverable)
	name, arg := deliverable[at], e.arg/len(deliverable)
	h := &m.given[at]
	switch {
	case e.kind < 110:
		m.says.deliver[at] = !m.says.deliver[at]
		m.says = m.says.shared()
		return fmt.Sprintf("hosts.toml delivers the credential of %s: %t", name, m.says.deliver[at])
	case e.kind < 125:
		h.serial++
		if h.until = 0; arg%4 > 0 {
			h.until = m.wall + time.Duration(1+arg%90)*time.Minute
		}
		if arg%7 == 0 {
			h.realm = !h.realm
		}
		return fmt.Sprintf("the credential of %s is handed over: %+v", name, *h)
	case e.kind < 128:
		if h.serial == 0 || h.ended(m.wall) {
			return "nothing"
		}
		h.until = m.wall
		return "the credential of " + name + " ends"
	case h.serial == 0:
		return "nothing"
	}
	*h = handed{}
	return "the credential of " + name + " is removed"
}

// handOver hands credentials over.
func (w *world) handOver(g given) { w.given = g }

// forever returns new credentials without an end.
func (w *world) forever() given {
	g := w.given
	for i := range g {
		g[i] = handed{serial: g[i].serial + 1, realm: g[i].realm}
	}
	return g
}

// checkHeaders holds that a credential in a file in force is sent to its own registry
// alone, and that the kubelet has no credential of that registry at the same time.
func (m *model) checkHeaders(host, file string) {
	if !strings.Contains(file, authorizationKey) {
		return
	}
	endpoints, _ := hosts.Read([]byte(file), "source.example", hosts.Version{})
	for _, e := range endpoints {
		for _, value := range e.Header["Authorization"] {
			if !strings.HasPrefix(value, "Basic "+e.Host+"/") {
				m.errorf("%s is sent %q by the file of %s", e.Host, value, host)
			}
			for _, h := range slices.Concat(m.hands[host], m.stuck[host]) {
				if slices.Contains(h.of, e.Host) {
					m.errorf("the file of %s has the credential of %s while the kubelet may hold it too", host, e.Host)
				}
			}
		}
	}
	if got := strings.Count(file, authorizationKey); got != len(headersIn(file)) {
		m.errorf("the file of %s has %d credentials, of which %d are sent", host, got, len(headersIn(file)))
	}
}

// headersIn returns the registries that are sent a credential by a file.
func headersIn(file string) []string {
	var list []string
	endpoints, _ := hosts.Read([]byte(file), "source.example", hosts.Version{})
	for _, e := range endpoints {
		if len(e.Header["Authorization"]) > 0 {
			list = append(list, e.Host)
		}
	}
	return list
}

// checkEnded holds, after a run that did all it could, that a credential that has expired
// is left out if the source is in the list, and stays otherwise.
func (m *model) checkEnded(held string) {
	waits := func(host string) bool {
		for _, list := range [][]Pending{m.last.Pending, m.last.Draining, m.last.Held} {
			if slices.ContainsFunc(list, func(p Pending) bool { return p.Source == host || p.Source == held }) {
				return true
			}
		}
		return len(m.last.Conflicts) > 0
	}
	for i, source := range modelSources {
		file := string(m.hosts(m.says.tree, modelNamespaces[i]))
		list := allTargets[m.says.targets[i]]
		if waits(source) || hosts.OwnerOf([]byte(file)) != hosts.Ours || list == nil {
			continue
		}
		for at, name := range deliverable {
			isNamed := slices.ContainsFunc(list, func(t string) bool { return strings.HasPrefix(t, name) })
			if !m.says.deliver[at] || !isNamed {
				continue
			}
			isOut := m.given[at].ended(m.wall) && slices.Contains(list, itsSource)
			if got := slices.Contains(headersIn(file), name); got == isOut {
				m.errorf("%s has the credential of %s: %t; it has expired and the source is in the list: %t", source, name, got, isOut)
			}
		}
	}
}

// TestModelDelivered is [TestModel] for lives in which credentials are delivered by
// hosts.toml: values appear, end, are renewed and vanish, and the map turns deliver on
// and off at any time.
func TestModelDelivered(t *testing.T) {
	t.Parallel()
	seed := *modelSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	var player player
	turns := 0
	for life := range uint64(max(1, *modelSteps/stepsOfALife)) {
		events := randomKinds(seed, life, 130)
		m, log := player.live(events, flaw{})
		if log != nil {
			shorter := shrink(events, flaw{})
			_, log := new(shrunk).live(shorter, flaw{})
			t.Fatalf("with -model.seed=%d, life %d, shrunk to %d steps:\n%s", seed, life, len(shorter), strings.Join(log, "\n"))
		}
		turns += m.changed
	}
	if turns == 0 {
		t.Error("nothing happened")
	}
}

// shrunk plays a life that fails once more.
type shrunk = player

// TestModelFindsDelivered plants a fault for each promise about delivered credentials,
// and tells that the model notices.
func TestModelFindsDelivered(t *testing.T) {
	for name, plant := range map[string]flaw{
		"the kubelet's credential is not drained": {state: func(s *State) {
			for name, d := range s.Drains {
				d.Since.Since = 0
				s.Drains[name] = d
			}
		}},
		"what has expired stays in front of the source": {desired: func(d *Desired) {
			if d.Full == nil || len(d.Files) == 0 {
				return
			}
			d.Map = d.Full
			secrets := map[string]string{}
			each(d.Full, func(key string, at int) { secrets[key] = canary(deliverable[at], 1) })
			d.Files, _ = hosts.Render(d.Full, hosts.Options{Secrets: secrets})
		}},
		"a credential is sent to another registry": {desired: func(d *Desired) {
			for i, f := range d.Files {
				text := strings.ReplaceAll(string(f.Data), "Basic harbor.corp", "Basic contoso.azurecr.io")
				d.Files[i].Data = []byte(text)
			}
			d.Files = slices.Clone(d.Files)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			var player player
			for life := range uint64(400) {
				if _, log := player.live(randomKinds(seed, life, 130), plant); log != nil {
					t.Logf("found in life %d: %s", life, log[len(log)-1])
					return
				}
			}
			t.Errorf("not found in 400 lives with seed %d", seed)
		})
	}
}
