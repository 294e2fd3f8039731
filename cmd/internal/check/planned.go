package check

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/deliver/prove"
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/cmd/internal/node"
	"github.com/mirrorcred/mirrorcred/cmd/internal/plan"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// plan reports what "mirrorcred apply -n" would report.
func (v *visit) plan(plan plan.Plan, err error) {
	for _, one := range fault.Each(err) {
		v.planError(one)
	}
	for _, one := range plan.Faults {
		v.why(doctor.SourceFault, one.Source, one.Why)
	}
	for _, one := range plan.Conflicts {
		v.why(doctor.Conflict, v.at(one.Path), one.Why)
	}
	for _, one := range plan.Pending {
		if one.Warned {
			continue
		}
		v.why(doctor.ConfigNotLoaded, one.Source, one.Why)
	}
	for _, one := range plan.Draining {
		one.Why.Name = doctor.SourceDraining
		v.why("", one.Source, one.Why)
	}
	if why := plan.LossWhy; !why.None() {
		why.Name = doctor.NextStartDiffers
		v.why("", why.Where, why)
	}
	if changes := slices.DeleteFunc(slices.Clone(plan.Changes), isOpenSecret); len(changes) > 0 {
		names := make([]string, 0, 3)
		for _, c := range changes[:min(len(changes), 3)] {
			names = append(names, c.Path)
		}
		text := fmt.Sprintf("the map is not applied: %s", strings.Join(names, ", "))
		if more := len(changes) - len(names); more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		v.add(doctor.NotApplied, "", text+" would change", "mirrorcred apply")
	}
	for _, w := range plan.Warnings {
		if root := strings.TrimSuffix(v.root, "/"); strings.HasPrefix(w.Where, "/") && !strings.HasPrefix(w.Where, root+"/") {
			w.Where = v.at(w.Where) // the planner's paths are the node's own
		}
		v.found = append(v.found, w)
	}
}

// isOpenSecret reports whether a change only closes a hosts.toml with a secret header, which
// is a finding about the tree.
func isOpenSecret(c plan.Change) bool {
	if path.Base(c.Path) != hosts.FileName || c.Mode&0o077 != 0 || !bytes.Equal(c.Old, c.New) {
		return false
	}
	list, err := hosts.Read(c.New, hosts.HostOf(path.Base(path.Dir(c.Path))), hosts.Version{})
	return err == nil && slices.ContainsFunc(list, func(e hosts.Endpoint) bool {
		for name := range e.Header {
			if mirror.IsSecretHeader(name) {
				return true
			}
		}
		return false
	})
}

// why reports a reason of the plan by its name, or else by the usual one.
func (v *visit) why(usual, where string, why fault.Fault) {
	name := cmp.Or(why.Name, usual)
	// What the registry wanted was handed over as text.
	if name == doctor.NotDelivered && strings.Contains(why.What, prove.DoesNotGet) {
		name = doctor.TokenRealmEarly
	}
	v.add(name, where, why.Text(), cmp.Or(why.Fix, why.Until))
}

// planError reports an error that prevents planning.
func (v *visit) planError(err error) {
	var ofMap *mirror.Fault
	if errors.As(err, &ofMap) {
		text, repair := fault.Split(ofMap.Text)
		v.add(cmp.Or(ofMap.Name, doctor.MapInvalid), place(ofMap.File, ofMap.Line), text, repair)
		return
	}
	f, usual := fault.Of(err), doctor.CannotApply
	if unarmed := (*node.NotArmedError)(nil); errors.As(err, &unarmed) {
		usual = doctor.ContainerdUnknown
	} else if errors.Is(err, fs.ErrPermission) {
		v.missed(f.Where, err)
		return
	}
	v.add(cmp.Or(f.Name, usual), f.Where, f.Text(), f.Fix)
}

func place(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
