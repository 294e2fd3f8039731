package node

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

var modelSeed = flag.Uint64("model.seed", 0, "run the model with this seed alone")

// TestModel makes long random runs of what happens to a node over the years
// and holds it against what must hold at any moment. A run that fails is made
// shorter as long as it still fails.
func TestModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, rand.Uint64()}
	if *modelSeed != 0 {
		seeds = []uint64{*modelSeed}
	}
	for _, seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 0))
		events := make([]event, 250)
		for i := range events {
			events[i] = event{random.IntN(100), random.IntN(1000)}
		}
		if failures := play(t, events); len(failures) > 0 {
			events = shrink(t, events)
			t.Fatalf("with -model.seed=%d, shrunk to %d events:\n%s", seed, len(events), strings.Join(play(t, events), "\n"))
		}
	}
}

// shrink drops events from a run that fails, many at once as long as it goes.
func shrink(t *testing.T, events []event) []event {
	for size := len(events) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(events); {
			shorter := slices.Concat(events[:at], events[at+size:])
			if len(play(t, shorter)) > 0 {
				events = shorter
			} else {
				at += size
			}
		}
	}
	return events
}

// An event is what happens next: kind is one of a hundred, by their odds.
type event struct{ kind, arg int }

// A probe is a test that keeps its failures to itself.
type probe struct {
	testing.TB
	failures []string
}

func (p *probe) Errorf(format string, args ...any) {
	p.failures = append(p.failures, fmt.Sprintf(format, args...))
}

// modelSources and modelTargets are what the maps of the model are made of; the
// target "" stands for no mirror.
var (
	modelSources = []string{"mcr.microsoft.com", "docker.io", "quay.io:5000", "*"}
	modelTargets = []string{"", "contoso.azurecr.io", "fabrikam.azurecr.io/hub", "mirror.example"}
)

// modelMap returns the map in which source i has target targets[i].
func modelMap(targets []int) string {
	text := "version = 1\n"
	for i, source := range modelSources {
		if target := modelTargets[targets[i]]; target != "" {
			text += fmt.Sprintf("[[mirror]]\nsource = %q\ntargets = [%q]\n", source, target)
		}
	}
	return text
}

// A model is a node, and what is known of it.
type model struct {
	*probe
	n       *Node
	host    *fake
	targets []int
	broken  bool
	last    Plan
	matched []string // by the kubelet that runs
	// inHand is when the kubelet was last answered a credential for a host.
	inHand   map[string]Moment
	tampered map[string]bool // hosts whose file somebody else changed
	log      []string
}

// play plays events on a new node and returns what failed, with the events up
// to there before it.
func play(t *testing.T, events []event) []string {
	m := &model{probe: &probe{TB: t}, targets: make([]int, len(modelSources)), inHand: map[string]Moment{}, tampered: map[string]bool{}}
	m.n, m.host = newNode(t, modelMap(m.targets))
	defer os.RemoveAll(m.n.Root)
	write(t, m.n.path("/var/lib/kubelet/image_manager/pulling/.keep"), "")
	if err := os.Remove(m.n.path("/var/lib/kubelet/image_manager/pulling/.keep")); err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		m.log = append(m.log, m.happen(e))
		m.check()
		if len(m.failures) > 0 {
			return append(m.log, m.failures...)
		}
	}
	m.settle()
	if len(m.failures) > 0 {
		return append(append(m.log, "settle"), m.failures...)
	}
	return nil
}

// happen makes an event happen and says what it was.
func (m *model) happen(e event) string {
	source := modelSources[e.arg%len(modelSources)]
	host := hostOf(source)
	file := m.n.path("/etc/containerd/certs.d", namespaceOf(source), "hosts.toml")
	_, err := os.Stat(file)
	there := err == nil
	switch {
	case e.kind < 25:
		m.targets[e.arg%len(modelSources)] = e.arg / len(modelSources) % len(modelTargets)
		m.broken = false
		write(m, m.n.Map, modelMap(m.targets))
		return fmt.Sprintf("the map says %v", m.targets)
	case e.kind < 52:
		return m.apply()
	case e.kind < 60:
		return m.applyHolding(source)
	case e.kind < 67 && !m.broken:
		killAt(m.n, e.arg%20)
		dead := killed(m, m.n)
		m.n.disk = disk{}
		return fmt.Sprintf("apply, killed at step %d: %v", e.arg%20, dead)
	case e.kind < 70:
		m.broken = true
		write(m, m.n.Map, modelMap(m.targets)+"[[mirror]]\nsource = 5\n")
		return "the map breaks"
	case e.kind < 80:
		m.host.startKubelet(theFlags...)
		m.kubeletStarted()
		return "the kubelet restarts"
	case e.kind < 83:
		m.host.reboot()
		m.host.startKubelet(theFlags...)
		m.kubeletStarted()
		return "the node reboots"
	case e.kind < 92:
		d := time.Duration(e.arg%180) * time.Second
		m.host.after(d)
		return fmt.Sprintf("%s pass", d)
	case e.kind < 95 && there:
		write(m, file, "server = \"https://elsewhere.example\"\n")
		m.tampered[host] = true
		return "somebody edits the file of " + source
	case e.kind < 98 && there:
		if err := os.RemoveAll(m.n.path("/etc/containerd/certs.d", namespaceOf(source))); err != nil {
			m.Fatal(err)
		}
		m.tampered[host] = true
		return "somebody removes the directory of " + source
	case there:
		write(m, file, "")
		m.tampered[host] = true
		return "somebody empties the file of " + source
	}
	return "nothing"
}

func (m *model) apply() string { return m.applyHolding("") }

// applyHolding applies the map and holds the removal of one source.
func (m *model) applyHolding(held string) string {
	plan, err := m.n.ApplyUnless(m.Context(), func(source string) bool { return source == held }, func(Plan) bool { return false })
	if (err != nil) != m.broken {
		m.Errorf("apply with a broken map %v: %v", m.broken, err)
	}
	if err == nil {
		m.last = plan
	}
	if held != "" {
		return "apply, with the removal of " + held + " held"
	}
	return "apply"
}

// kubeletStarted notes what the kubelet reads at its start, and that it has
// nothing in its hands.
func (m *model) kubeletStarted() {
	m.inHand, m.matched = map[string]Moment{}, nil
	data, err := os.ReadFile(m.n.path(mirror.DefaultKubeletConfig))
	if err == nil {
		for _, e := range ourEntries(false, kubeletconfig.File{Name: "config.yaml", Data: data}) {
			m.matched = append(m.matched, e.Match...)
		}
	}
}

// check holds the node against the promises, and pulls an image of each source.
func (m *model) check() {
	maps := make([]string, len(modelTargets))
	for i := range modelTargets {
		maps[i] = modelMap([]int{i, i, i, i})
	}
	checkWhole(m, m.n, maps, "now")
	for _, source := range modelSources {
		host := hostOf(source)
		file := inForceFor(m, m.n, host)
		since, held := m.inHand[host]
		if held && m.host.moment.Since-since.Since >= time.Minute {
			held = false
			delete(m.inHand, host)
		}
		if file != "" && hosts.Whose([]byte(file)) == hosts.Ours {
			m.tampered[host] = false
		}
		if held && file == "" && !m.tampered[host] && !m.tampered[hostOf("*")] {
			m.Errorf("%s goes to the source while the kubelet may hold its credential", host)
		}
		offers, err := answer(m, m.n, host)
		if err != nil || len(offers) == 0 || offers[0].Credential == nil || len(m.host.run) == 0 {
			continue
		}
		asked := slices.ContainsFunc(m.matched, func(p string) bool { return kubeletconfig.Matches(p, host+"/app/image") })
		pending := slices.ContainsFunc(m.last.Pending, func(w Wait) bool { return w.Source == source || w.Source == "*" })
		// The kubelet has no pattern for every host with a port.
		byAny := strings.Contains(host, ":") && hostsOf(m, m.n, namespaceOf(source)) == ""
		if !asked && !pending && !byAny {
			m.Errorf("%s is routed to a mirror, and the kubelet that runs does not ask for it", host)
		}
		if asked {
			m.inHand[host] = m.host.moment
		}
	}
}

// settle mends everything and holds that the node comes to its map.
func (m *model) settle() {
	write(m, m.n.Map, modelMap(m.targets))
	m.broken, m.n.Adopt = false, true
	for range 3 {
		m.apply()
		m.host.startKubelet(theFlags...)
		m.host.after(time.Hour)
	}
	m.apply()
	if left := summary(m.last); left != "" {
		m.Errorf("in the end the plan leaves:\n%s", left)
	}
	for i, source := range modelSources {
		got := hostsOf(m, m.n, namespaceOf(source))
		if modelTargets[m.targets[i]] == "" && hosts.Whose([]byte(got)) != hosts.Ours {
			continue // somebody else's, and the map has nothing to say of it
		}
		if want, _, _ := strings.Cut(modelTargets[m.targets[i]], "/"); want == "" && got != "" || !strings.Contains(got, want) {
			m.Errorf("in the end hosts.toml of %s is %q; want one for %q", source, got, want)
		}
	}
}

func namespaceOf(source string) string {
	s, err := mirror.ParseSource(source)
	if err != nil {
		panic(err)
	}
	return hosts.Namespace(s)
}

// hostOf returns a host of a source.
func hostOf(source string) string {
	if source == "*" {
		return "unnamed.example"
	}
	return source
}
