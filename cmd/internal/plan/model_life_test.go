package plan

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
)

func randomEvents(seed, life uint64) []event { return randomKinds(seed, life, 100) }

// randomKinds returns a life with that many kinds of events: more than a hundred for one
// in which credentials are delivered.
func randomKinds(seed, life uint64, kinds int) []event {
	random := rand.New(rand.NewPCG(seed, life))
	beside := rand.New(rand.NewPCG(seed+1, life))
	events := make([]event, stepsOfALife)
	for i := range events {
		events[i] = event{random.IntN(kinds), random.IntN(1000), beside.IntN(100)}
	}
	return events
}

// shrink drops events from a life that fails, many at once as long as it goes.
func shrink(events []event, plant flaw) []event {
	var player player
	for size := len(events) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(events); {
			shorter := slices.Concat(events[:at], events[at+size:])
			if _, log := player.live(shorter, plant); log != nil {
				events = shorter
			} else {
				at += size
			}
		}
	}
	return events
}

// An event is what happens next: kind is one of a hundred, by their odds, or more for
// what happens to delivered credentials. ready is what happens beside it about the first
// targets; see [model.turnReady].
type event struct{ kind, arg, ready int }

// A model is a world, and what is known of it.
type model struct {
	*world
	says    modelMap
	lists   int // how many lists of targets its maps choose from
	last    Plan
	matches []string // what the kubelet that runs has mirrorcred's plugin run for
	// hands are the credentials that the kubelet may still pull with, by host,
	// and stuck are those of a pull under way.
	hands, stuck map[string][]*hand
	down         bool              // containerd is stopped, while its tree changes
	read         map[string]string // the files in force
	early        map[string]string // those that a map which shares has put in place while it is stopped
	shared       map[string]bool   // whether the file came by a mirror that shares credentials
	edited       map[string]string // what another program wrote, by tree and namespace
	waits        map[string]Moment // since when a mirror may wait for its first target, by its key

	log            []string
	failures       []string
	changed, kills int // how many steps changed something, and how many killed a run
}

func (m *model) errorf(format string, args ...any) {
	m.failures = append(m.failures, fmt.Sprintf(format, args...))
}

// A player plays lives one after the other, and reads the same kubelet's file only
// once.
type player struct {
	reader *kubeletconfig.Reader
	lives  int
}

// live plays events on a new node, and returns the events up to the first failure
// and the failure; nil if nothing fails.
func (p *player) live(events []event, plant flaw) (*model, []string) {
	if p.lives++; p.lives%100 == 1 {
		p.reader = new(kubeletconfig.Reader) // what an earlier one remembers is forgotten
	}
	m := &model{
		world: newWorld(p.reader), hands: map[string][]*hand{}, stuck: map[string][]*hand{},
		read: map[string]string{}, early: map[string]string{}, shared: map[string]bool{}, edited: map[string]string{}, waits: map[string]Moment{},
	}
	m.plant, m.lists = plant, len(modelTargets)
	if slices.ContainsFunc(events, func(e event) bool { return e.kind >= 100 }) {
		m.lists = len(allTargets)
	}
	for _, e := range events {
		m.turnReady(e.ready)
		what := m.happen(e)
		m.log = append(m.log, what)
		if what != "nothing" && what != "apply, with nothing to do" {
			m.changed++
		}
		m.check()
		if len(m.failures) > 0 {
			return m, append(m.log, m.failures...)
		}
	}
	if m.settle(); len(m.failures) > 0 {
		return m, append(append(m.log, "settle"), m.failures...)
	}
	return m, nil
}

// happen makes an event happen and says what it was.
func (m *model) happen(e event) string {
	i := e.arg % len(modelSources)
	source, host, ns := modelSources[i], modelHosts[i], modelNamespaces[i]
	there := m.has(m.says.tree, ns)
	switch {
	case e.kind >= 100:
		return m.happenDelivered(e)
	case e.kind < 22:
		before := m.says
		m.says.targets[i] = e.arg / len(modelSources) % m.lists
		m.says.share[i] = e.arg/len(modelSources)/m.lists%4 == 0
		m.says.list = e.arg / len(modelSources) / m.lists / 4 % len(modelLists)
		m.says = m.says.shared()
		if m.says == before {
			return "nothing"
		}
		return fmt.Sprintf("the map says %v", m.says)
	case e.kind < 24:
		m.says.tree = 1 - m.says.tree
		m.down = true
		for ns, data := range m.trees[trees[m.says.tree]] {
			if hosts.OwnerOf(data) != hosts.Ours {
				m.remove(m.says.tree, ns) // what other programs left there was tidied up
				delete(m.edited, trees[m.says.tree]+"/"+ns)
			}
		}
		return "containerd stops, and its tree is " + trees[m.says.tree]
	case e.kind < 33:
		return m.pull(host)
	case e.kind < 54:
		return m.applyHolding("", 0)
	case e.kind < 60:
		return m.applyHolding(source, 0)
	case e.kind < 70:
		return m.applyHolding("", 1+e.arg%14)
	case e.kind < 80:
		m.restartKubelet(e.arg)
		return fmt.Sprintf("the kubelet restarts, and records its pulls: %t", m.records)
	case e.kind < 83:
		m.now = Moment{m.now.Boot + "'", time.Minute}
		m.wall += time.Minute
		m.restartKubelet(e.arg)
		clear(m.answered)
		return "the node reboots"
	case e.kind < 92:
		d := time.Duration(1+e.arg%180) * time.Second
		if e.arg%20 == 0 {
			d = 4 * time.Hour
		}
		m.after(d)
		return fmt.Sprintf("%s pass", d)
	case !there:
		return "nothing"
	case e.kind < 95:
		text := "server = \"https://elsewhere.example\"\n"
		m.put(m.says.tree, ns, []byte(text))
		m.tamper(i)
		m.edited[trees[m.says.tree]+"/"+ns] = text
		return "another program edits the file of " + source
	case e.kind < 98:
		m.remove(m.says.tree, ns)
		m.tamper(i)
		return "another program removes the directory of " + source
	}
	m.put(m.says.tree, ns, []byte{})
	m.tamper(i)
	return "another program empties the file of " + source
}

// tamper notes that another program changed the file of a source: where the
// credentials go that the kubelet has by then, no plan decides.
func (m *model) tamper(i int) {
	delete(m.edited, trees[m.says.tree]+"/"+modelNamespaces[i])
	for at, host := range modelHosts {
		if at != i && modelSources[i] != "*" {
			continue
		}
		delete(m.hands, host)
		if m.stuck[host] != nil {
			m.stuck[host] = []*hand{}
		}
	}
}

// applyHolding applies the map and holds the removal of one source, "" for none.
// The run is killed before a step, 0 for none.
func (m *model) applyHolding(held string, kill int) string {
	d := m.desire(m.says.text())
	d.Hold = func(source string) bool { return source == held }
	m.killAt, m.wrote = kill, 0
	was := m.firstTargets()
	p, err := m.apply(d)
	m.checkReady(d.Map, was)
	dead := errors.Is(err, errKilled)
	m.killAt = 0
	switch {
	case dead:
		m.kills++
		return fmt.Sprintf("apply, killed at step %d", kill)
	case err != nil:
		m.errorf("apply: %v", err)
	default:
		m.last, m.down = p, false
		m.checkEnded(held)
	}
	if m.wrote == 0 {
		return "apply, with nothing to do"
	}
	return fmt.Sprintf("apply, with the removal of %q held", held)
}

// restartKubelet starts the kubelet anew, one that keeps records of its pulls or
// one that does not: it has nothing in its hands, and knows what it reads.
func (m *model) restartKubelet(arg int) {
	m.startKubelet(arg%3 > 0)
	m.hands, m.stuck, m.matches = map[string][]*hand{}, map[string][]*hand{}, m.matched()
}
