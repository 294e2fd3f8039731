package node

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

var modelSeed = flag.Uint64("model.seed", 0, "run the model with this seed alone")

// TestModel makes long random runs of what happens to a node over the years
// and holds it against what must hold at any moment. A run that fails is made
// shorter as long as it still fails.
func TestModel(t *testing.T) {
	seeds := []uint64{1, 2, 3, 4, 5, 6, 7, 8}
	if *modelSeed != 0 {
		seeds = []uint64{*modelSeed}
	}
	for _, seed := range seeds {
		random := rand.New(rand.NewPCG(seed, 0))
		events := make([]event, 250)
		for i := range events {
			events[i] = event{random.IntN(kinds), random.IntN(1000)}
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

// longestACRLife is how long a credential of ACR is good for.
const longestACRLife = 3*time.Hour + 10*time.Minute

// kinds is how many kinds of events there are: the first hundred by their odds, the rest
// for credentials in hosts.toml.
const kinds = 130

// An event is what happens next.
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
// target "" stands for no mirror. The first three registries have a credential,
// of which that of harbor.corp never expires.
var (
	modelSources = []string{"mcr.microsoft.com", "docker.io", "quay.io:5000", "*"}
	modelTargets = [][]string{
		nil, {"contoso.azurecr.io"}, {"fabrikam.azurecr.io/hub"}, {"harbor.corp"}, {"mirror.example"}, {"third.example"}, {"mirror.example", "third.example"},
		{"harbor.corp", itsSource}, {"mirror.example", "harbor.corp", itsSource},
	}
)

// A modelState is what a map of the model says: the targets of each source and
// whether they share credentials, the tree, and whether the credential of harbor.corp
// is in hosts.toml.
type modelState struct {
	targets [4]int
	share   [4]bool
	tree    int
	deliver bool
}

func (s modelState) text() string {
	text := fmt.Sprintf("version = 1\n[containerd]\nhosts_dir = %q\n", trees[s.tree])
	for i, source := range modelSources {
		if list := modelTargets[s.targets[i]]; list != nil {
			text += fmt.Sprintf("[[mirror]]\nsource = %q\ntargets = [\"%s\"]\nshare_credential = %t\n", source, strings.ReplaceAll(strings.Join(list, `", "`), itsSource, source), s.shares(i))
		}
	}
	text += "[registry.\"harbor.corp\"]\ncredential = \"harbor\"\n"
	if s.deliver {
		text += "deliver = \"hosts\"\n"
	}
	return text + `[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`
}

// A hand is a credential that the kubelet was given for a host.
type hand struct {
	at      plan.Moment // when it was last
	list    []string    // the registries that containerd asked for the host then
	of      []string    // the registries whose credentials they are
	expires bool
}

// A model is a node, and what is known of it.
type model struct {
	*probe
	n       *Node
	host    *fake
	says    modelState
	broken  bool
	last    plan.Plan
	matched []string // by the kubelet that runs
	// hands are the credentials that the kubelet may still pull with, by host,
	// and stuck are those of a pull under way; records says whether the kubelet
	// writes pulls down.
	hands   map[string][]*hand
	stuck   map[string][]*hand
	records bool
	// down says that containerd is stopped, while its tree changes.
	down bool
	// read are the files in force, and shared has each host whose file came by a
	// mirror that shares credentials.
	read   map[string]string
	shared map[string]bool
	log    []string
	// forgot are the hosts whose route was removed, until one knows the file in force.
	// lapsed are those for which the kubelet that runs may not ask, because of that.
	forgot, lapsed map[string]bool
	// given is what was handed over last, and passed how far the wall clock went.
	given  handover.Value
	serial int
	passed time.Duration
}

// play plays events on a new node and returns what failed, with the events up
// to there before it.
func play(t *testing.T, events []event) []string {
	m := &model{
		probe: &probe{TB: t}, hands: map[string][]*hand{}, stuck: map[string][]*hand{}, records: true,
		read: map[string]string{}, shared: map[string]bool{}, forgot: map[string]bool{}, lapsed: map[string]bool{},
	}
	m.n, m.host = newNode(t, m.says.text())
	defer os.RemoveAll(m.n.Root)
	m.host.clock = func() time.Time { return time.Now().Add(time.Hour + m.passed) }
	mkdir(t, m.n.path(records))
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
	file := m.n.path(trees[m.says.tree], namespaceOf(source), "hosts.toml")
	_, err := os.Stat(file)
	there := err == nil
	switch {
	case e.kind >= 100:
		return m.happenDelivered(e)
	case e.kind < 22:
		i := e.arg % len(modelSources)
		m.says.targets[i] = e.arg / len(modelSources) % len(modelTargets)
		m.says.share[i] = e.arg/len(modelSources)/len(modelTargets)%4 == 0
		m.broken = false
		write(m, m.n.Map, m.says.text())
		return fmt.Sprintf("the map says %v", m.says)
	case e.kind < 24:
		m.says.tree = 1 - m.says.tree
		m.broken, m.down = false, true
		moveTo(m, m.n, trees[m.says.tree], "")
		write(m, m.n.Map, m.says.text())
		return "containerd stops, and its tree is " + trees[m.says.tree]
	case e.kind < 32:
		return m.pull(host)
	case e.kind < 54:
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
		write(m, m.n.Map, m.says.text()+"[[mirror]]\nsource = 5\n")
		return "the map breaks"
	case e.kind < 80:
		m.startKubelet(e.arg)
		return fmt.Sprintf("the kubelet restarts, and records its pulls: %t", m.records)
	case e.kind < 83:
		m.host.reboot()
		m.startKubelet(e.arg)
		return "the node reboots"
	case e.kind < 92:
		d := time.Duration(e.arg%180) * time.Second
		if e.arg%20 == 0 {
			d = 4 * time.Hour
		}
		m.pass(d)
		return fmt.Sprintf("%s pass", d)
	case e.kind < 95 && there:
		write(m, file, "server = \"https://elsewhere.example\"\n")
		m.tamper(source)
		return "another program edits the file of " + source
	case e.kind < 98 && there:
		if err := os.RemoveAll(m.n.path(trees[m.says.tree], namespaceOf(source))); err != nil {
			m.Fatal(err)
		}
		m.tamper(source)
		return "another program removes the directory of " + source
	case there:
		write(m, file, "")
		m.tamper(source)
		return "another program empties the file of " + source
	}
	return "nothing"
}

func (m *model) apply() string { return m.applyHolding("") }

// tamper notes that another program changed the file of a source: where the
// credentials go that the kubelet has by then, no plan decides.
func (m *model) tamper(source string) {
	for _, one := range modelSources {
		if one != source && source != "*" {
			continue
		}
		host := hostOf(one)
		delete(m.hands, host)
		if m.stuck[host] != nil {
			m.stuck[host] = []*hand{}
		}
	}
}

// applyHolding applies the map and holds the removal of one source.
func (m *model) applyHolding(held string) string {
	todo, err := m.n.ApplyUnless(m.Context(), func(source string) bool { return source == held }, func(plan.Plan) bool { return false })
	if (err != nil) != m.broken {
		m.Errorf("apply with a broken map %v: %v", m.broken, err)
	}
	if err == nil {
		m.last, m.down = todo, false
	}
	if held != "" {
		return "apply, with the removal of " + held + " held"
	}
	return "apply"
}

// startKubelet starts the kubelet anew, one that keeps records of its pulls or
// one that does not: it has nothing in its hands, and knows what it reads.
func (m *model) startKubelet(arg int) {
	flags := theFlags
	if m.records = arg%3 > 0; !m.records {
		flags = append([]string{"--feature-gates=KubeletEnsureSecretPulledImages=false"}, theFlags...)
	}
	m.host.startKubelet(flags...)
	m.hands, m.stuck, m.matched = map[string][]*hand{}, map[string][]*hand{}, nil
	m.lapsed = map[string]bool{}
	for _, source := range modelSources {
		m.intent(hostOf(source), false)
	}
	data, err := os.ReadFile(m.n.path(mirror.DefaultKubeletConfig))
	if err == nil {
		for _, e := range (plan.State{}).EntriesOf(kubeletconfig.File{Name: "config.yaml", Data: data}) {
			m.matched = append(m.matched, e.Match...)
		}
	}
}

// pull has a pull begin with the credentials that the kubelet has for a host, or
// the one under way end.
func (m *model) pull(host string) string {
	if m.stuck[host] != nil {
		delete(m.stuck, host)
		m.intent(host, false)
		return "the pull of " + host + " ends"
	}
	if len(m.hands[host]) == 0 {
		return "nothing"
	}
	m.stuck[host] = m.hands[host]
	m.intent(host, m.records)
	return "a pull of " + host + " is under way"
}

// intent has the record of a pull be there or not.
func (m *model) intent(host string, there bool) {
	name := m.n.path(records, strings.ReplaceAll(host, ":", "-"))
	if there {
		write(m, name, fmt.Sprintf(`{"image": "%s/app/image:1"}`, host))
	} else if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.Fatal(err)
	}
}

// check holds the node against the promises, and pulls an image of each source.
func (m *model) check() {
	m.drop()
	m.noteForgotten()
	if m.down {
		return
	}
	var maps []string
	for i := range modelTargets {
		for _, deliver := range []bool{false, true} {
			maps = append(maps, modelState{targets: [4]int{i, i, i, i}, deliver: deliver}.text())
		}
	}
	checkWhole(m, m.n, maps, "now")
	for i, source := range modelSources {
		host := hostOf(source)
		file := hostsReadFor(m, m.n, host)
		if file != m.read[host] {
			serves := i
			if hostsOf(m, m.n, namespaceOf(source)) != file {
				serves = len(modelSources) - 1
			}
			m.read[host], m.shared[host] = file, m.says.shares(serves)
			for _, h := range slices.Concat(m.hands[host], m.stuck[host]) {
				if m.shared[host] { // who is in the list may see it from now on
					h.list = append(h.list, registriesIn(file)...)
				}
			}
		}
		m.checkHands(host, file)
		m.checkHeaders(host, file)
		offers, err := decided(m, m.n, host)
		if err != nil || len(offers) == 0 || offers[0].Credential == nil || len(m.host.run) == 0 {
			continue
		}
		asked := slices.ContainsFunc(m.matched, func(p string) bool { return kubeletMatches(p, host+"/app/image") })
		// The kubelet has no pattern for every host with a port.
		byAny := strings.Contains(host, ":") && hostsOf(m, m.n, namespaceOf(source)) == ""
		if !asked && !byAny && !m.lapsed[host] {
			m.Errorf("%s is routed to a mirror, and the kubelet that runs does not ask for it", host)
		}
		if asked {
			var of []string
			for _, o := range offers {
				of = append(of, o.Query.Registry.String())
			}
			m.give(host, &hand{m.host.moment, registriesIn(file), of, offers[0].Credential.Kind == mirror.Azure})
		}
	}
}

// give puts a credential into the kubelet's hands.
func (m *model) give(host string, h *hand) {
	for _, other := range m.hands[host] {
		if slices.Equal(other.list, h.list) && slices.Equal(other.of, h.of) {
			other.at = h.at
			return
		}
	}
	m.hands[host] = append(m.hands[host], h)
}

// drop takes away the credentials with which no pull can begin any more.
func (m *model) drop() {
	old := func(h *hand) bool {
		age := m.host.moment.Since - h.at.Since
		return age >= time.Minute
	}
	for host, list := range m.hands {
		m.hands[host] = slices.DeleteFunc(slices.Clone(list), old)
	}
	for host, list := range m.stuck {
		m.stuck[host] = slices.DeleteFunc(slices.Clone(list), func(h *hand) bool {
			return h.expires && m.host.moment.Since-h.at.Since > longestACRLife
		})
	}
}

// checkHands holds that no registry is offered a credential that the kubelet has
// for a host, but those that may see it.
func (m *model) checkHands(host, file string) {
	for _, h := range slices.Concat(m.hands[host], m.stuck[host]) {
		if file == "" {
			m.Errorf("%s goes to the source while the kubelet may hold its credential", host)
		}
		for _, registry := range registriesIn(file) {
			anonymous := registry == "mirror.example" || registry == "third.example" || registry == "source.example"
			if anonymous && !m.shared[host] && !slices.Contains(h.list, registry) {
				m.Errorf("%s goes to %s while the kubelet may hold the credential for %q", host, registry, h.list)
			}
		}
	}
}

// registriesIn returns the registries that containerd asks by a hosts.toml.
func registriesIn(file string) []string {
	var list []string
	endpoints, _ := hosts.Read([]byte(file), "source.example", hosts.Version{})
	for _, e := range endpoints {
		list = append(list, e.Host)
	}
	return list
}

// settle repairs everything and checks that the node then matches its map.
func (m *model) settle() {
	write(m, m.n.Map, m.says.text())
	m.broken, m.n.Adopt = false, true
	m.handOver(time.Time{})
	for range 3 {
		m.apply()
		m.startKubelet(1)
		m.pass(time.Hour)
	}
	m.apply()
	if left := summary(m.last); left != "" {
		m.Errorf("in the end the plan leaves:\n%s", left)
	}
	for i, source := range modelSources {
		got, want := hostsOf(m, m.n, namespaceOf(source)), modelTargets[m.says.targets[i]]
		if want == nil && hosts.OwnerOf([]byte(got)) != hosts.Ours {
			continue // another program's, and not in the map
		}
		var registries []string
		for _, target := range want {
			registry, _, _ := strings.Cut(strings.ReplaceAll(target, itsSource, "source.example"), "/")
			registries = append(registries, registry)
		}
		if want == nil && got != "" || want != nil && !slices.Equal(registriesIn(got), registries) {
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
