package check

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/handover"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/mirror"
	"github.com/mirrorcred/mirrorcred/systemd"
)

// A Deliverer is what is known of "mirrorcred deliver" on a machine.
type Deliverer struct {
	Runs bool
	// Path and Service are the states of its two units; zero if systemd has none.
	Path, Service systemd.State
}

// unitDirs are where systemd finds units; the first that has one counts
// (systemd.unit(5)).
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// deliverer asks whether "mirrorcred deliver" runs, which the map needs.
func (v *visit) deliverer(ctx context.Context, o Options, m *mirror.Map) {
	d := o.Deliverer(ctx)
	if d.Runs {
		return
	}
	unit, what, repair := v.notDelivering(d)
	if unit == "" {
		return
	}
	then := "mirrors with ready are turned on only when their time is over"
	if m.Delivers() {
		then = "credentials in hosts.toml are not renewed and will expire"
	}
	text := fmt.Sprintf("the map needs mirrorcred-deliver, but %s, so %s", what, then)
	if last := v.lastFault(m); last != "" && !slices.ContainsFunc(v.found, func(f doctor.Finding) bool { return strings.Contains(f.Text, last) }) {
		text += "; before that it failed: " + last
	}
	v.add(doctor.DeliverNotRunning, unit, text, repair)
}

// notDelivering returns why "mirrorcred deliver" does not run, and the unit at fault; ""
// if another finding says it.
func (v *visit) notDelivering(d Deliverer) (unit, what, repair string) {
	for _, unit := range []string{systemd.DeliverUnit, systemd.DeliverPathUnit} {
		if what, repair := v.unitFault(unit); what != "" {
			return unit, what, repair
		}
	}
	if d.Service.Active == "failed" || strings.HasPrefix(d.Service.Sub, "auto-restart") {
		what := fmt.Sprintf("%s does not stay up (%s)", systemd.DeliverUnit, d.Service.Result)
		return systemd.DeliverUnit, what, "see why with: journalctl -u mirrorcred-deliver"
	}
	if slices.ContainsFunc(v.found, func(f doctor.Finding) bool { return f.Name == doctor.WatcherNotRunning }) {
		return "", "", "" // systemd stops the other units with the watcher, and starts them with it
	}
	if d.Path.Active != "" && d.Path.Active != "active" {
		return systemd.DeliverPathUnit, systemd.DeliverPathUnit + " is not active, so mirrorcred-deliver does not start", "systemctl start " + systemd.DeliverPathUnit
	}
	if _, err := v.in.Lstat(v.at(node.DeliverWanted)); errors.Is(err, fs.ErrNotExist) {
		return systemd.DeliverUnit, v.at(node.DeliverWanted) + " does not exist, so systemd does not start mirrorcred-deliver", "mirrorcred apply"
	}
	return systemd.DeliverUnit, "mirrorcred-deliver does not run", "systemctl restart " + systemd.DeliverUnit
}

// unitFault returns why systemd cannot start a unit, "" if it can.
func (v *visit) unitFault(unit string) (what, repair string) {
	for _, dir := range unitDirs {
		info, err := v.in.Lstat(v.at(dir, unit))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			if to, err := v.in.Readlink(v.at(dir, unit)); err == nil && to == "/dev/null" {
				return unit + " is masked", fmt.Sprintf("systemctl unmask %s && systemctl restart %s", unit, systemd.WatchUnit)
			}
		}
		return "", ""
	}
	return unit + " is not installed", fmt.Sprintf("mirrorcred units --install && systemctl daemon-reload && systemctl restart %s", systemd.WatchUnit)
}

// lastFault returns why a credential of the map was not renewed the last time, "" if none
// failed.
func (v *visit) lastFault(m *mirror.Map) string {
	store := handover.New(v.at(handover.Dir))
	var at time.Time
	var reason string
	for key := range m.DeliveryKeys() {
		if f, err := store.Fault(key); err == nil && f.At.After(at) {
			what, _ := fault.Split(f.Reason)
			at, reason = f.At, fmt.Sprintf("%s: %s", f.Registry, what)
		}
	}
	return reason
}
