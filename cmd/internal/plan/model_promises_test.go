package plan

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A hand is a credential that the kubelet was given for a host.
type hand struct {
	at      Moment   // when it was last
	list    []string // the registries that containerd asked for the host then
	of      []string // the registries whose credentials these are
	expires bool
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
		m.checkHeaders(host, file)
		offers = slices.DeleteFunc(offers, func(o route.Offer) bool { return o.Credential == nil })
		if len(offers) == 0 || len(m.run) == 0 {
			continue
		}
		asked := slices.ContainsFunc(m.matches, func(p string) bool { return runsFor(p, host) })
		// The kubelet has no pattern for every host with a port.
		byAny := strings.Contains(host, ":") && len(m.hosts(m.says.tree, ns)) == 0
		if !asked && !byAny {
			m.errorf("%s is routed to a mirror, and the kubelet that runs does not ask for it", host)
		}
		if asked {
			var of []string
			for _, o := range offers {
				of = append(of, o.Query.Registry.String())
			}
			lasts := func(o route.Offer) bool { return o.Credential.Kind != mirror.Azure }
			m.give(host, &hand{m.now, registriesIn(file), of, !slices.ContainsFunc(offers, lasts)})
		}
	}
}

// noteEarly notes the files that a map which shares credentials has put into place
// while containerd is stopped: a later map finds them in force.
func (m *model) noteEarly() {
	for _, f := range m.desire(m.says.text()).Files {
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
	got, may := textsOf(offers), allowedBy(file)
	switch {
	case err == nil && !slices.ContainsFunc(may, func(list []string) bool { return slices.Equal(got, list) }) && (len(got) > 0 || may != nil):
		m.errorf("%s is offered %q, where containerd reads\n%q\nand %q may be offered", modelHosts[i], got, file, may)
	case errors.Is(err, errUnarmed) && len(m.last.Held) > 0: // its route is of the previous tree until it is not held
	case err != nil && slices.ContainsFunc(may, func(list []string) bool { return len(list) > 0 }) && !strings.Contains(err.Error(), "being drained"):
		m.errorf("%s is routed to %q, and there is no answer: %v", modelHosts[i], may, err)
	}
	if err != nil {
		return nil
	}
	return offers
}

// textsOf returns the credentials of offers as "registry credential".
func textsOf(offers []route.Offer) []string {
	var list []string
	for _, o := range offers {
		if o.Credential != nil {
			list = append(list, o.Query.Registry.String()+" "+o.Credential.Name)
		}
	}
	return list
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
		if slices.Equal(other.list, h.list) && slices.Equal(other.of, h.of) {
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
			anonymous := registry == "mirror.example" || registry == "third.example" || registry == "source.example"
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
	m.plant = flaw{desired: func(d *Desired) { d.Adopt = true }}
	m.handOver(m.forever())
	for range 3 {
		m.applyHolding("", 0)
		m.restartKubelet(1)
		m.after(time.Hour)
	}
	m.applyHolding("", 0)
	if p := m.last; len(p.Pending)+len(p.Draining)+len(p.Conflicts) > 0 {
		m.errorf("in the end the plan leaves %v, %v, %v", p.Pending, p.Draining, p.Conflicts)
	}
	d := desire(m.says.text())
	for i, source := range modelSources {
		got, want := m.hosts(m.says.tree, modelNamespaces[i]), allTargets[m.says.targets[i]]
		if want == nil && hosts.OwnerOf(got) != hosts.Ours {
			continue // another program's, and the map does not name the source
		}
		var registries []string
		for _, target := range want {
			registry, _, _ := strings.Cut(strings.ReplaceAll(target, itsSource, "source.example"), "/")
			registries = append(registries, registry)
		}
		if want == nil && got != nil || want != nil && !slices.Equal(registriesIn(string(got)), registries) {
			m.errorf("in the end hosts.toml of %s is %q; want one for %q", source, got, want)
		}
		if s, _ := mirror.ParseSource(source); want != nil {
			one, _ := d.Map.Mirror(s)
			offers, err := m.decided(modelImages[i])
			if got, want := textsOf(offers), mayBeOffered(one); err != nil || !slices.Equal(got, want) {
				m.errorf("in the end %s is offered %q, %v; want %q", source, got, err, want)
			}
		}
	}
}
