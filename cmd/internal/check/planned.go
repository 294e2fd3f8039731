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
		text, repair := split(one.Reason)
		v.add(nameOfFault(text), one.Source, text, repair)
	}
	for _, one := range plan.Conflicts {
		text, repair := split(one.Reason)
		v.add(cmp.Or(one.Name, doctor.Conflict), v.at(one.Path), text, repair)
	}
	for _, one := range plan.Pending {
		if one.Warned {
			continue
		}
		text, repair := split(one.Reason)
		v.add(nameOfWait(text), one.Source, text, repair)
	}
	for _, one := range plan.Draining {
		text, repair := split(one.Reason)
		v.add(doctor.SourceDraining, one.Source, text, repair)
	}
	if plan.Loss != "" {
		text, repair := split(plan.Loss)
		v.add(doctor.NextStartDiffers, "", text, repair)
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

// nameOfWait returns the name of the finding about a pending source.
func nameOfWait(text string) string {
	switch {
	case strings.Contains(text, plan.LeftToNode):
		return doctor.CredentialLeftToNode
	case strings.Contains(text, "--image-credential-provider"):
		return doctor.FlagsMissing
	case strings.HasPrefix(text, plan.NotHandedOver) && strings.Contains(text, prove.DoesNotGet):
		return doctor.TokenRealmEarly
	case strings.HasPrefix(text, plan.NotHandedOver):
		return doctor.NotDelivered
	case strings.Contains(text, plan.NotReady):
		return doctor.MirrorNotReady
	}
	return doctor.ConfigNotLoaded
}

// nameOfFault returns the name of the finding about a source with a fault of its own.
func nameOfFault(text string) string {
	if strings.Contains(text, plan.NotRenewed) {
		return doctor.CredentialExpired
	}
	return doctor.SourceFault
}

// planError reports an error that prevents planning.
func (v *visit) planError(err error) {
	var ofMap *mirror.Fault
	if errors.As(err, &ofMap) {
		text, repair := split(ofMap.Text)
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

// split cuts the remedy off a message.
func split(text string) (what, repair string) {
	what, repair, _ = strings.Cut(text, "; ")
	return what, repair
}
