package plan

import (
	"fmt"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// pending returns why a source that needs a credential cannot be routed yet: each running
// kubelet must have read a configuration that matches it.
func (ks *kubelets) pending(m mirror.Mirror) pendingReason {
	if why := ks.lacksNow(m); !why.None() {
		return pendingReason{why: why, ofFile: true}
	}
	needs := ks.needed(m)
	for _, k := range ks.list {
		lacks := k.lacks(needs, m)
		switch {
		case !k.misconfigured.None():
			return pendingReason{why: k.misconfigured}
		case lacks != "" && ks.rejected:
			return pendingFor("the kubelet did not start with the configuration that names "+lacks+", and runs with its old one", tryAgain)
		case lacks != "":
			w := pendingFor(fmt.Sprintf("the kubelet (process %d) started before %s was added to its configuration", k.PID, lacks), ks.plugin.restart())
			w.restart = true
			return w
		}
	}
	return pendingReason{why: ks.unseen}
}

// tryAgain is what to do if the kubelet did not start with a configuration.
const tryAgain = "see why with: journalctl -u kubelet, then run \"mirrorcred apply\" to try again"

// lacksNow returns why a mirror waits for the kubelet's file, nothing if the file already
// names all that the mirror needs.
func (ks *kubelets) lacksNow(m mirror.Mirror) fault.Fault {
	if ks.unsettled.None() || ks.file.lacks(ks.needed(m), m) == "" {
		return fault.Fault{}
	}
	return ks.unsettled
}

// areNone reports whether no kubelet runs, and the kubelet's file is as the map needs it:
// then there is nothing that a routed mirror lacks.
func (ks *kubelets) areNone() bool { return len(ks.list) == 0 && ks.unsettled.None() }

// misses returns why a kubelet does not ask for the credential of a source that is
// routed already, or may not ask for it.
func (ks *kubelets) misses(m mirror.Mirror) pendingReason {
	if why := ks.lacksNow(m); !why.None() {
		why.What = "active, but its pulls may have no credential: " + why.What
		return pendingReason{why: why, ofFile: true}
	}
	needs := ks.needed(m)
	for _, k := range ks.list {
		if why := k.misconfigured; !why.None() {
			why.What = "active, but its pulls have no credential: " + why.What
			return pendingReason{why: why}
		}
		if reason := ks.misread(k, needs, m); reason != "" {
			w := pendingFor(reason, "restart the kubelet")
			w.restart = !ks.rejected
			return w
		}
	}
	return pendingReason{}
}

// misread returns why a kubelet has, or may have, read a configuration that does not
// name what a routed mirror needs; "" if it names all of it.
func (ks *kubelets) misread(k kubelet, needs []Entry, m mirror.Mirror) string {
	lacks := k.lacks(needs, m)
	switch {
	case !k.known && !k.Embedded && k.Dating.Worthless:
		return fmt.Sprintf("active, but its pulls may have no credential: the wall clock was set after the kubelet (process %d) started, so the time of its configuration does not show which version it read", k.PID)
	case !k.known && !k.Embedded:
		return fmt.Sprintf("active, but its pulls may have no credential: the kubelet's configuration changed after the kubelet (process %d) started, and it is not known which version it read", k.PID)
	case !k.known || lacks == "":
		return ""
	case k.hasOther(m, ks.plugin):
		return fmt.Sprintf("active, but the kubelet (process %d) still gets its credential from the previous plugin", k.PID)
	}
	return fmt.Sprintf("active, but its pulls have no credential: the kubelet (process %d) started with a configuration that does not name %s", k.PID, lacks)
}

// keepsAnswering returns why containerd cannot be sent to a host for a source, or to
// several if host is "": a running kubelet has [mirror.Stock] return the credential of
// another host for it.
func (ks *kubelets) keepsAnswering(source, host string) pendingReason {
	for _, k := range ks.list {
		to := k.stockAnswer(source)
		switch {
		case to == "" || to == host:
		case ks.rejected:
			return pendingFor(fmt.Sprintf("%s still returns the credential of %q for this source to the kubelet (process %d), which did not start with the configuration that ends that", mirror.Stock, to, k.PID), tryAgain)
		default:
			w := pendingFor(fmt.Sprintf("%s still returns the credential of %q for this source until the kubelet (process %d) restarts", mirror.Stock, to, k.PID), stopFirst)
			w.restart = true
			return w
		}
	}
	return pendingReason{}
}

// mayKeepAnswering is [kubelets.keepsAnswering], but also counts a kubelet about which
// it is not known what it read, unless the source is new to it.
func (ks *kubelets) mayKeepAnswering(source, host string, ns Namespace) pendingReason {
	if w := ks.keepsAnswering(source, host); !w.none() {
		return w
	}
	return ks.plugin.mayAnswer(ks, source, ns)
}

// stockAnswer returns the login server whose credential [mirror.Stock] returns for a
// source: that of a mirror, or the source itself; "" if it returns none.
func (p providers) stockAnswer(source string) string {
	if to := p.answers[source]; to != "" {
		return to
	}
	m, ok := p.has[[2]string{mirror.Stock, ""}]
	if !ok {
		return ""
	}
	if s, err := mirror.ParseSource(source); err == nil && m.has(s) {
		if _, acr := s.Host().ACRSuffix(); acr {
			return source
		}
	}
	return ""
}

// only returns the one host that is asked for a mirror's images, "" if there are
// more, or no credential is meant for it.
func only(m mirror.Mirror) string {
	to, ok := m.Mapping()
	switch {
	case len(m.Targets) > 1:
		return ""
	case m.Targets[0].Self():
		return m.Source.String()
	case ok:
		return to.String()
	}
	return ""
}
