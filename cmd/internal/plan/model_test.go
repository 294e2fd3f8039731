package plan

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/kubeletconfig"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
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
				m, log := player.live(events, fault{})
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
		shorter := shrink(*events, fault{})
		_, log := new(player).live(shorter, fault{})
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
	for name, plant := range map[string]fault{
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

func randomEvents(seed, life uint64) []event {
	random := rand.New(rand.NewPCG(seed, life))
	events := make([]event, stepsOfALife)
	for i := range events {
		events[i] = event{random.IntN(100), random.IntN(1000)}
	}
	return events
}

// shrink drops events from a life that fails, many at once as long as it goes.
func shrink(events []event, plant fault) []event {
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

// An event is what happens next: kind is one of a hundred, by their odds.
type event struct{ kind, arg int }

// modelSources and modelTargets are what the maps of the model are made of; no
// targets stand for no mirror. The first three registries have a credential, of
// which that of harbor.corp never expires.
var (
	modelSources = []string{"mcr.microsoft.com", "docker.io", "quay.io:5000", "*"}
	modelTargets = [][]string{
		nil, {"contoso.azurecr.io"}, {"fabrikam.azurecr.io/hub"}, {"harbor.corp"}, {"mirror.example"}, {"third.example"}, {"mirror.example", "third.example"},
	}
	modelHosts, modelNamespaces, modelImages = names()
)

// names returns for each source a host of it, its namespace and an image.
func names() (list, namespaces []string, images []mirror.Image) {
	for _, source := range modelSources {
		host := source
		if source == "*" {
			host = "unnamed.example"
		}
		s, err := mirror.ParseSource(source)
		if err != nil {
			panic(err)
		}
		image, err := mirror.ParseImage(host + "/app/image")
		if err != nil {
			panic(err)
		}
		list, namespaces, images = append(list, host), append(namespaces, hosts.Namespace(s)), append(images, image)
	}
	return list, namespaces, images
}

// A modelMap is what a map of the model says: the targets of each source, whether
// they share credentials, and the tree.
type modelMap struct {
	targets [4]int
	share   [4]bool
	tree    int
}

func (s modelMap) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "version = 1\n[containerd]\nhosts_dir = %q\n", trees[s.tree])
	for i, source := range modelSources {
		if list := modelTargets[s.targets[i]]; list != nil {
			fmt.Fprintf(&b, "[[mirror]]\nsource = %q\ntargets = [\"%s\"]\nshare_credential = %t\n", source, strings.Join(list, `", "`), s.share[i])
		}
	}
	return b.String() + `[registry."harbor.corp"]
credential = "harbor"
[credential.harbor]
kind = "docker-config"
path = "/etc/mirrorcred/harbor.json"
`
}

// allowed are the credentials that may be answered under each hosts.toml of a
// map of the model, as "registry credential".
var allowed = func() map[string][]string {
	list := map[string][]string{}
	for i := range modelTargets {
		for tree := range trees {
			d := desire(modelMap{targets: [4]int{i, i, i, i}, tree: tree}.text())
			for at, f := range d.Files {
				var may []string
				for _, t := range d.Map.Mirrors[at].Targets {
					if t.Credential != "" {
						may = append(may, t.Host().String()+" "+t.Credential)
					}
				}
				list[string(f.Data)] = may
			}
		}
	}
	return list
}()

// A hand is a credential that the kubelet was given for a host.
type hand struct {
	at      Moment   // when it was last
	list    []string // the registries that containerd asked for the host then
	expires bool
}

// A model is a world, and what is known of it.
type model struct {
	*world
	says    modelMap
	last    Plan
	matches []string // what the kubelet that runs has our plugin run for
	// hands are the credentials that the kubelet may still pull with, by host,
	// and stuck are those of a pull under way.
	hands, stuck map[string][]*hand
	down         bool              // containerd is stopped, while its tree changes
	read         map[string]string // the files in force
	early        map[string]string // those that a map which shares has put in place while it is stopped
	shared       map[string]bool   // whether the file came by a mirror that shares credentials
	edited       map[string]string // what another program wrote, by tree and namespace

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
func (p *player) live(events []event, plant fault) (*model, []string) {
	if p.lives++; p.lives%100 == 1 {
		p.reader = new(kubeletconfig.Reader) // what an earlier one remembers is forgotten
	}
	m := &model{
		world: newWorld(p.reader), hands: map[string][]*hand{}, stuck: map[string][]*hand{},
		read: map[string]string{}, early: map[string]string{}, shared: map[string]bool{}, edited: map[string]string{},
	}
	m.plant = plant
	for _, e := range events {
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
	case e.kind < 22:
		before := m.says
		m.says.targets[i] = e.arg / len(modelSources) % len(modelTargets)
		m.says.share[i] = e.arg/len(modelSources)/len(modelTargets)%4 == 0
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
		m.restartKubelet(e.arg)
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
	d := desire(m.says.text())
	d.Hold = func(source string) bool { return source == held }
	m.killAt, m.wrote = kill, 0
	p, err := m.apply(d)
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

// pull has a pull begin with the credentials that the kubelet has for a host, or
// the one under way end.
func (m *model) pull(host string) string {
	if m.stuck[host] != nil {
		delete(m.stuck, host)
		delete(m.pulling, host)
		return "the pull of " + host + " ends"
	}
	if len(m.hands[host]) == 0 {
		return "nothing"
	}
	m.stuck[host] = m.hands[host]
	m.pulling[host] = true
	return "a pull of " + host + " is under way"
}

// check holds the node against the promises, and pulls an image of each source.
func (m *model) check() {
	m.drop()
	m.checkEdited()
	if m.down {
		m.noteEarly()
		return
	}
	for i := range modelSources {
		host, ns := modelHosts[i], modelNamespaces[i]
		now := m.observed(m.says.tree, host)
		file := string(now.Hosts)
		if file != m.read[host] {
			serves := i
			if string(m.hosts(m.says.tree, ns)) != file {
				serves = len(modelSources) - 1
			}
			m.read[host], m.shared[host] = file, m.says.share[serves] || m.early[host] == file
			delete(m.early, host)
			for _, h := range slices.Concat(m.hands[host], m.stuck[host]) {
				if m.shared[host] { // who is in the list may see it from now on
					h.list = append(h.list, registriesIn(file)...)
				}
			}
		}
		m.checkHands(host, file)
		offers := m.checkOffers(i, file)
		if len(offers) == 0 || offers[0].Credential == nil || len(m.run) == 0 {
			continue
		}
		asked := slices.ContainsFunc(m.matches, func(p string) bool { return runsFor(p, host) })
		// The kubelet has no pattern for every host with a port.
		byAny := strings.Contains(host, ":") && len(m.hosts(m.says.tree, ns)) == 0
		if !asked && !byAny {
			m.errorf("%s is routed to a mirror, and the kubelet that runs does not ask for it", host)
		}
		if asked {
			m.give(host, &hand{m.now, registriesIn(file), offers[0].Credential.Kind == mirror.Azure})
		}
	}
}

// noteEarly notes the files that a map which shares credentials has put into place
// while containerd is stopped: a later map finds them in force.
func (m *model) noteEarly() {
	for _, f := range desire(m.says.text()).Files {
		i := slices.Index(modelNamespaces, f.Namespace)
		if i >= 0 && m.says.share[i] && string(m.hosts(m.says.tree, f.Namespace)) == string(f.Data) {
			m.early[modelHosts[i]] = string(f.Data)
		}
	}
}

// checkOffers holds that what is answered for a source is what the file in force
// allows.
func (m *model) checkOffers(i int, file string) []route.Offer {
	offers, err := m.decided(modelImages[i])
	var got []string
	for _, o := range offers {
		if o.Credential != nil {
			got = append(got, o.Query.Registry.String()+" "+o.Credential.Name)
		}
	}
	may := allowed[file]
	switch {
	case err == nil && !slices.Equal(got, may):
		m.errorf("%s is offered %q, where containerd reads\n%q\nand %q may be offered", modelHosts[i], got, file, may)
	case errors.Is(err, errUnarmed) && len(m.last.Held) > 0: // its route is of the tree of before until it is not held
	case err != nil && len(may) > 0 && !strings.Contains(err.Error(), "being drained"):
		m.errorf("%s is routed to %q, and there is no answer: %v", modelHosts[i], may, err)
	}
	if err != nil {
		return nil
	}
	return offers
}

// checkEdited holds that what another program wrote stays.
func (m *model) checkEdited() {
	for place, text := range m.edited {
		dir, ns, _ := strings.Cut(place[1:], "/certs.d/")
		if got := string(m.trees["/"+dir+"/certs.d"][ns]); got != text {
			m.errorf("%s was another program's, and is %q", place, got)
		}
	}
}

// give puts a credential into the kubelet's hands.
func (m *model) give(host string, h *hand) {
	for _, other := range m.hands[host] {
		if slices.Equal(other.list, h.list) {
			other.at = h.at
			return
		}
	}
	m.hands[host] = append(m.hands[host], h)
}

// drop takes away the credentials with which no pull can begin any more.
func (m *model) drop() {
	for host, list := range m.hands {
		m.hands[host] = slices.DeleteFunc(slices.Clone(list), func(h *hand) bool { return m.now.Since-h.at.Since >= settle })
	}
	for host, list := range m.stuck {
		m.stuck[host] = slices.DeleteFunc(slices.Clone(list), func(h *hand) bool {
			return h.expires && m.now.Since-h.at.Since > acrLife
		})
	}
}

// checkHands holds that no registry is offered a credential that the kubelet has
// for a host, but those that may see it.
func (m *model) checkHands(host, file string) {
	for _, h := range slices.Concat(m.hands[host], m.stuck[host]) {
		if file == "" {
			m.errorf("%s goes to the source while the kubelet may hold its credential", host)
		}
		for _, registry := range registriesIn(file) {
			anonymous := registry == "mirror.example" || registry == "third.example"
			if anonymous && !m.shared[host] && !slices.Contains(h.list, registry) {
				m.errorf("%s goes to %s while the kubelet may hold the credential for %q", host, registry, h.list)
			}
		}
	}
}

// registriesIn returns the registries that containerd asks by a hosts.toml.
func registriesIn(file string) []string {
	return once(known.reads, file, func() []string {
		var list []string
		endpoints, _ := hosts.Read([]byte(file), "source.example", hosts.Version{})
		for _, e := range endpoints {
			list = append(list, e.Host)
		}
		return list
	})
}

// runsFor reports whether the kubelet runs a provider with a pattern for a host.
func runsFor(pattern, host string) bool {
	p, err := mirror.KubeletPattern(pattern)
	if err != nil {
		return pattern == host
	}
	h, err := mirror.ParseHost(host)
	return err == nil && p.MatchesHost(h)
}

// settle adopts everything and holds that the node comes to its map.
func (m *model) settle() {
	clear(m.edited)
	m.plant = fault{desired: func(d *Desired) { d.Adopt = true }}
	for range 3 {
		m.applyHolding("", 0)
		m.restartKubelet(1)
		m.after(time.Hour)
	}
	m.applyHolding("", 0)
	if p := m.last; len(p.Pending)+len(p.Draining)+len(p.Conflicts) > 0 {
		m.errorf("in the end the plan leaves %v, %v, %v", p.Pending, p.Draining, p.Conflicts)
	}
	for i, source := range modelSources {
		got, want := m.hosts(m.says.tree, modelNamespaces[i]), modelTargets[m.says.targets[i]]
		if want == nil && hosts.OwnerOf(got) != hosts.Ours {
			continue // another program's, and the map does not name the source
		}
		var registries []string
		for _, target := range want {
			registry, _, _ := strings.Cut(target, "/")
			registries = append(registries, registry)
		}
		if want == nil && got != nil || want != nil && !slices.Equal(registriesIn(string(got)), registries) {
			m.errorf("in the end hosts.toml of %s is %q; want one for %q", source, got, want)
		}
	}
}

// TestHeldAfterMove tells that a source whose removal is held goes on being served
// in a new hosts_dir, and that the next run does not take the change for one that
// is still to be made.
func TestHeldAfterMove(t *testing.T) {
	m, _ := new(player).live(nil, fault{})
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
			if _, log := player.live(randomEvents(lives.seed, life), fault{}); log != nil {
				t.Fatalf("%s: seed %d, life %d:\n%s", what, lives.seed, life, strings.Join(log, "\n"))
			}
		}
	}
}
