package plan

import (
	"fmt"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A credential that is in hosts.toml is renewed in the middle of its life at the
// latest. Well past that, or after a failed try, something is wrong, and there is still
// time to repair it.

const (
	// grace is how long the renewal of a credential without a time of expiry may be late: tries
	// come every five minutes.
	grace = 10 * time.Minute
	// soon is how long before it expires a person must renew a credential, as the alert
	// MirrorcredCredentialExpires has it.
	soon = 14 * 24 * time.Hour
)

// isLate reports whether more than three fifths of a life have passed, as the alert
// MirrorcredCredentialNotRenewed does.
func isLate(from, until, now time.Time) bool {
	return now.Sub(from) > until.Sub(from)/5*3
}

// overdue reports whether a credential should have been fetched again by now.
func (d Delivery) overdue(now time.Time) bool {
	switch {
	case d.From.IsZero():
		return false
	case !d.Until.IsZero():
		return isLate(d.From, d.Until, now)
	}
	due := d.Renew
	if due.IsZero() {
		due = d.From.Add(mirror.DeliveryRenewal)
	}
	return now.After(due.Add(max(due.Sub(d.From)/5, grace)))
}

// outworn reports whether a credential was fetched again in time, and its source had no
// newer one.
func (d Delivery) outworn(now time.Time) bool {
	return !d.Issued.IsZero() && !d.Until.IsZero() && isLate(d.Issued, d.Until, now) && d.Until.Sub(now) < soon
}

// renewals warns, once for each, of credentials in hosts.toml that were not renewed in
// time, and of those that the node's containerd cannot use.
func renewals(d *Desired, o *Observed) share {
	var s share
	if len(o.Deliveries) == 0 {
		return s
	}
	seen := map[string]bool{}
	for _, m := range d.full().Mirrors {
		for _, t := range m.Targets {
			key, ok := t.Delivery()
			one, isGiven := o.Deliveries[key]
			if !ok || !isGiven || seen[key] || one.Missing || one.ended(d.Wall) {
				continue // which is reported for each of its sources
			}
			seen[key] = true
			f := d.renewal(t, one)
			if one.Realm && o.Containerd != (hosts.Version{}) && o.Containerd.Before(2, 1, 0) {
				f = realmEarly(t, o.Containerd) // because of which it is not renewed, either
			}
			if f.Name != "" {
				f.Where = fmt.Sprintf("%s:%d", d.MapFile, t.Line("deliver"))
				s.warnings = append(s.warnings, f)
			}
		}
	}
	return s
}

func realmEarly(t mirror.Target, v hosts.Version) doctor.Finding {
	return doctor.Finding{
		Name:   doctor.TokenRealmEarly,
		Text:   fmt.Sprintf("%q accepts the credential in hosts.toml at its token service alone, and containerd %s does not send it there, so its pulls have no credential", t, v),
		Repair: "update containerd to 2.1 or later, or remove deliver under that [registry]",
	}
}

// renewal returns the finding about a credential that was not renewed in time, without
// its place; the zero Finding if it was.
func (d *Desired) renewal(t mirror.Target, one Delivery) doctor.Finding {
	text := fmt.Sprintf("the credential of %q in hosts.toml was fetched at %s and not renewed since", t, stamp(one.From))
	if !one.Until.IsZero() {
		text = fmt.Sprintf("the credential of %q in hosts.toml expires at %s and was not renewed in the middle of its life", t, stamp(one.Until))
	}
	repair := SeeDeliverLog
	switch {
	case one.Reason != "":
		f := one.because(fault.Fault{What: text})
		text, repair = f.What, f.Fix
	case one.overdue(d.Wall):
	case one.outworn(d.Wall):
		text += fmt.Sprintf(": credential %q has no newer one", t.Credentials[0])
		repair = fmt.Sprintf("log in again, and write the new password to the file of [credential.%s] in %s", t.Credentials[0], d.MapFile)
	default:
		return doctor.Finding{}
	}
	return doctor.Finding{Name: doctor.CredentialNotRenewed, Text: text, Repair: repair}
}

func stamp(t time.Time) string { return t.Local().Format(time.DateTime) }
