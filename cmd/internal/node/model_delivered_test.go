package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/credential"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// itsSource stands for the source itself in a list of targets.
const itsSource = "(its source)"

// shares reports whether a mirror shares credentials: it has to if the kubelet gets one
// for a list with the source in it.
func (s modelState) shares(i int) bool {
	list := modelTargets[s.targets[i]]
	return s.share[i] || !s.deliver && slices.Contains(list, itsSource)
}

// harborKey is the key by which the credential of harbor.corp is handed over.
func harborKey() string {
	m, err := mirror.Parse("map", []byte(modelState{targets: [4]int{3}, deliver: true}.text()))
	if err != nil {
		panic(err)
	}
	key, _ := m.Mirrors[0].Targets[0].Delivery()
	return key
}

// happenDelivered is [model.happen] for credentials in hosts.toml: they are handed over,
// end and are lost, and the map turns deliver on and off.
func (m *model) happenDelivered(e event) string {
	now := m.host.wall()
	switch {
	case e.kind < 110:
		m.says.deliver, m.broken = !m.says.deliver, false
		write(m, m.n.Map, m.says.text())
		return fmt.Sprintf("the map says %v", m.says)
	case e.kind < 124:
		var until time.Time
		if e.arg%4 > 0 {
			until = now.Add(time.Duration(1+e.arg%90) * time.Minute)
		}
		m.handOver(until)
		return fmt.Sprintf("credential %d of harbor.corp is handed over, until %v", m.serial, until)
	case m.given.Authorization == "":
		return "nothing"
	case e.kind < 127:
		m.given.Until = now
		m.setValue()
		return "the credential of harbor.corp ends"
	}
	m.given = handover.Value{}
	if err := m.store().Remove(harborKey()); err != nil {
		m.Fatal(err)
	}
	return "the credential of harbor.corp is lost"
}

func (m *model) store() handover.Store { return handover.New(m.n.path(handover.Dir)) }

// handOver hands over a new credential of harbor.corp.
func (m *model) handOver(until time.Time) {
	m.serial++
	m.given = handover.Value{Registry: "harbor.corp", Credential: "harbor", Authorization: credential.Secret(secretOf("harbor.corp", m.serial)), Until: until}
	m.setValue()
}

func (m *model) setValue() {
	if err := m.store().SetValue(harborKey(), m.given); err != nil {
		m.Fatal(err)
	}
}

// pass lets time pass on both clocks.
func (m *model) pass(d time.Duration) {
	m.host.after(d)
	m.passed += d
}

// noteForgotten notes which sources have no route. All routes go if containerd reads
// another tree. If a source then waits for a credential in hosts.toml, its file stays, and
// no run can tell any more what the plugin returned under it.
func (m *model) noteForgotten() {
	for _, source := range append([]string{"harbor.corp"}, modelSources...) {
		host := hostOf(source)
		own, err := routeAt(m.n, namespaceOf(source))
		file := hostsOf(m, m.n, namespaceOf(source))
		switch {
		case err != nil || own == nil:
			m.forgot[host] = true
		case slices.ContainsFunc(own.Generations, func(g route.Generation) bool { return g.SHA256 == hosts.Hash([]byte(file)) }):
			m.forgot[host] = false
		}
	}
	for _, source := range modelSources {
		m.lapsed[hostOf(source)] = m.lapsed[hostOf(source)] || m.forgets(hostOf(source))
	}
}

// forgets reports whether a host may have no answer because its route was removed, and the
// new one is of a credential in hosts.toml.
func (m *model) forgets(host string) bool {
	delivers := func(namespace string) bool {
		r, err := routeAt(m.n, namespace)
		return err == nil && r != nil && slices.ContainsFunc(r.Generations, func(g route.Generation) bool {
			return slices.ContainsFunc(g.Targets, func(t route.Target) bool { return t.Delivered })
		})
	}
	return m.forgot[host] && delivers(hosts.Candidates(host)[0]) || m.forgot[hostOf("*")] && delivers(hosts.Default)
}

// checkHeaders holds that a credential in a file in force is not in the kubelet's hands at
// the same time, for whichever registry of the list. That it is sent to its own registry
// alone, [checkSecrets] tells.
func (m *model) checkHeaders(host, file string) {
	endpoints, _ := hosts.Read([]byte(file), "source.example", hosts.Version{})
	for _, e := range endpoints {
		if !strings.Contains(fmt.Sprint(e.Header["Authorization"]), "c4n4ry") {
			continue
		}
		for _, h := range slices.Concat(m.hands[host], m.stuck[host]) {
			if slices.Contains(h.of, e.Host) {
				m.Errorf("the file of %s has the credential of %s while the kubelet may hold it too", host, e.Host)
			}
		}
	}
}
