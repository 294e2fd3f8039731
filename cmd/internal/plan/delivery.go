package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A credential may be in hosts.toml instead of being returned by the plugin. It is
// then bound to its host: containerd offers it to no other one. Another process asks the
// registry for it and hands it over. Until it has, the source is pending. Once the
// credential has expired and was not renewed, containerd would offer pods' own secrets to
// the mirror, several times for each object; so the mirror is left out if the source is
// in the list, and stays otherwise, so that no pull goes to the source against the map.

// A Delivery is what was handed over for a credential that is in hosts.toml.
type Delivery struct {
	// Missing says that there is no credential yet, and Reason why, or why there is no
	// newer one; "" if that is not known.
	Missing bool
	Reason  string
	Realm   bool      // as in mirror.Target
	Until   time.Time // when it expires; the zero time if it does not
	// From is when it was fetched, Issued when it was issued, and Renew when it must be
	// fetched again; each zero if that is not known.
	From, Issued, Renew time.Time
}

func (d Delivery) ended(now time.Time) bool {
	return !d.Missing && !d.Until.IsZero() && !now.Before(d.Until)
}

// Deliver returns the map with what was handed over, by delivery key, and what of it can
// be rendered now. In both, each target knows whether its registry wants the token realm;
// in the second, a target whose credential has expired is left out if the source is in the
// list.
func Deliver(m *mirror.Map, given map[string]Delivery, now time.Time) (full, present *mirror.Map) {
	if !slices.ContainsFunc(m.Mirrors, mirror.Mirror.Delivers) {
		return m, m
	}
	full = m.Retarget(func(one mirror.Mirror) []mirror.Target {
		list := slices.Clone(one.Targets)
		for i, t := range list {
			key, _ := t.Delivery()
			list[i].Realm = given[key].Realm
		}
		return list
	})
	hasEnded := func(t mirror.Target) bool {
		key, ok := t.Delivery()
		return ok && given[key].ended(now)
	}
	present = full.Retarget(func(one mirror.Mirror) []mirror.Target {
		if !slices.ContainsFunc(one.Targets, func(t mirror.Target) bool { return t.Self() && !hasEnded(t) }) {
			return one.Targets
		}
		return slices.DeleteFunc(slices.Clone(one.Targets), hasEnded)
	})
	return full, present
}

// closeFiles has the files of mirrors with a secret in the full map count as secret, even if
// the target with the secret is left out for now: their directory stays closed.
func closeFiles(files []hosts.File, full *mirror.Map) {
	for i, m := range full.Mirrors {
		files[i].Secret = files[i].Secret || m.Secret()
	}
}

// deliveries returns the sources that wait for a credential as pending, and has their
// namespaces stay as they are; and those whose credential has expired as faults.
func deliveries(d *Desired, given map[string]Delivery, blocked map[string]bool) share {
	var s share
	for i, m := range d.full().Mirrors {
		if !m.Delivers() {
			continue
		}
		source := m.Source.String()
		var waits, ended []fault.Fault
		for _, t := range m.Targets {
			key, ok := t.Delivery()
			switch one := given[key]; {
			case !ok:
			case one.Missing:
				waits = append(waits, d.missing(t, one))
			case one.ended(d.Wall):
				isOut := len(d.Map.Mirrors[i].Targets) < len(m.Targets)
				ended = append(ended, isEnded(t, one, isOut))
			}
		}
		if len(waits) > 0 {
			blocked[d.Files[i].Namespace] = true
			s.pending = append(s.pending, NewPending(source, together(waits)))
		}
		if len(ended) > 0 {
			s.faults = append(s.faults, NewPending(source, together(ended)))
		}
	}
	return s
}

// nextEnd returns when the next of the delivered credentials expires, the zero time if none
// will.
func nextEnd(d *Desired, given map[string]Delivery) time.Time {
	var next time.Time
	for _, one := range given {
		if one.Missing || one.Until.IsZero() || one.ended(d.Wall) {
			continue
		}
		if next.IsZero() || one.Until.Before(next) {
			next = one.Until
		}
	}
	return next
}

// full returns the map as the operator wrote it.
func (d *Desired) full() *mirror.Map {
	if d.Full != nil {
		return d.Full
	}
	return d.Map
}

// together returns several faults of a source as one.
func together(list []fault.Fault) fault.Fault {
	one := list[0]
	for _, next := range list[1:] {
		one.What += ", and " + next.What
		if next.Fix != "" && next.Fix != one.Fix {
			one.Fix = strings.TrimPrefix(one.Fix+", and "+next.Fix, ", and ")
		}
	}
	return one
}

// missing says that a credential was not handed over yet.
func (d *Desired) missing(t mirror.Target, one Delivery) fault.Fault {
	if d.Elsewhere || d.NoDelivery {
		return fault.Fault{
			Name:  doctor.CredentialLeftToNode,
			What:  fmt.Sprintf("the credential of %q belongs in hosts.toml, but no live credential goes into an image", t),
			Until: "the node's first run writes it",
		}
	}
	return one.because(fault.Fault{Name: doctor.NotDelivered, What: fmt.Sprintf("waits for mirrorcred-deliver to get the credential of %q", t)})
}

// SeeDeliverLog is what to do about a credential if no registry gave a reason.
const SeeDeliverLog = "see why with: journalctl -u mirrorcred-deliver"

// because adds to a fault why there is no newer credential, and what to do.
func (d Delivery) because(f fault.Fault) fault.Fault {
	why, fix := fault.Split(d.Reason)
	if f.Fix = cmp.Or(fix, SeeDeliverLog); why != "" {
		f.What += ": " + why
	}
	return f
}

// isEnded says that a credential has expired. isOut says that its target is left out.
func isEnded(t mirror.Target, one Delivery, isOut bool) fault.Fault {
	then := "pulls through it fail until it is renewed"
	if isOut {
		then = "its mirror is left out until it is renewed, and pulls go to the rest of the list"
	}
	return one.because(fault.Fault{
		Name: doctor.CredentialExpired, What: fmt.Sprintf("the credential of %q expired at %s and was not renewed, so %s", t, one.Until.Local().Format(time.DateTime), then),
	})
}

// generation returns the generation of a mirror's file. Targets that are left out of the
// file for now are in it too: they come back without a drain, and the plugin answers for
// them as before.
func (d *Desired) generation(m mirror.Mirror, f hosts.File) route.Generation {
	g := route.NewGeneration(d.Map, m, hosts.Hash(f.Data))
	full, ok := d.full().Mirror(m.Source)
	if !ok || len(full.Targets) == len(m.Targets) {
		return g
	}
	for _, t := range route.NewGeneration(d.full(), full, "").Targets {
		if !slices.ContainsFunc(g.Targets, func(other route.Target) bool { return other.Registry == t.Registry && other.Plain == t.Plain }) {
			g.Targets = append(g.Targets, t)
		}
	}
	return g
}

// delivered returns what stops a mirror from being delivered at once: the kubelet may
// still hold a credential for the source. It is withdrawn and drained under the old
// file, like that of a mirror that is removed: the source may follow the target in
// the new one. A target that is delivered already does not wait again.
func (s *source) delivered() *exposure {
	if !slices.ContainsFunc(s.next.Targets, func(t route.Target) bool { return t.Delivered }) {
		return nil
	}
	present, _ := observedGeneration(s.own, s.ns)
	before, _, known := s.served()
	for _, t := range s.next.Targets {
		isOld := slices.ContainsFunc(present.Targets, func(old route.Target) bool { return old.Delivered && old.Registry == t.Registry })
		if !t.Delivered || isOld {
			continue
		}
		e := &exposure{to: t.Registry, delivered: true, before: before}
		if !known {
			e.before.Generations = nil // of which one may be missing
			return e
		}
		if slices.ContainsFunc(before.Generations, needsCredential) {
			return e
		}
	}
	return nil
}

// realmUnasked warns of a source whose mirror wants the token realm, and for which the
// kubelet does not ask the plugin. Only pods with a pull secret for the source notice,
// so that nothing waits for it.
func realmUnasked(in *situation, m mirror.Mirror, isAnonymous bool) share {
	wantsRealm := slices.ContainsFunc(m.Targets, func(t mirror.Target) bool { return t.DeliverHosts && t.Realm })
	if in.Elsewhere || !isAnonymous || !wantsRealm {
		return share{}
	}
	w := in.kubelets.pending(m)
	if w.none() {
		return share{}
	}
	return share{warnings: []doctor.Finding{{
		Name:   doctor.RealmUnasked,
		Where:  m.Source.String(),
		Text:   "its mirror only accepts the credential in hosts.toml at its token service; pods with their own pull secret for the source cannot use the mirror until the kubelet restarts: " + w.why.Whole(),
		Repair: "restart the kubelet; until then such pods get their images from the rest of the list, or not at all",
	}}}
}

// losesHeader reports whether a new hosts.toml has fewer credentials in it than the one
// in force.
func losesHeader(old, next []byte) bool {
	return strings.Count(string(old), authorizationKey) > strings.Count(string(next), authorizationKey)
}

const authorizationKey = `"Authorization" = `
