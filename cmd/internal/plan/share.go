package plan

import (
	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// A share is what one part of the planning adds to a plan. Each part is a function
// that returns its share and changes nothing else; [Make] puts the shares together
// in their order.
type share struct {
	changes                         []Change
	pending, draining, held, faults []Pending
	conflicts                       []Conflict
	warnings                        []doctor.Finding
	// needsRestart says that something waits for a restart of the kubelet.
	needsRestart bool
	drains       []drainStep
	adopted      []adoption
	// lasting are the namespaces whose routes forget a credential that does not
	// expire.
	lasting []string
	// leavesDefault are the sources that another program's _default served until now.
	leavesDefault []string
	// begins are the mirrors that wait for their first target from now on, unless they
	// did before, by [mirror.Mirror.ReadyKey].
	begins []string
	// questions are about what the part needs and does not know yet.
	questions []Question
	err       error // the first one
}

// and returns a share followed by another.
func (s share) and(next share) share {
	s.changes = concat(s.changes, next.changes)
	s.pending = concat(s.pending, next.pending)
	s.draining = concat(s.draining, next.draining)
	s.held = concat(s.held, next.held)
	s.faults = concat(s.faults, next.faults)
	s.conflicts = concat(s.conflicts, next.conflicts)
	s.warnings = concat(s.warnings, next.warnings)
	s.needsRestart = s.needsRestart || next.needsRestart
	s.drains = concat(s.drains, next.drains)
	s.adopted = concat(s.adopted, next.adopted)
	s.lasting = concat(s.lasting, next.lasting)
	s.leavesDefault = concat(s.leavesDefault, next.leavesDefault)
	s.begins = concat(s.begins, next.begins)
	s.questions = concat(s.questions, next.questions)
	if s.err == nil {
		s.err = next.err
	}
	return s
}

// isEmpty reports whether the share has nothing in it, as most have.
func (s share) isEmpty() bool {
	lists := len(s.changes) + len(s.pending) + len(s.draining) + len(s.held) + len(s.faults) + len(s.conflicts) + len(s.warnings) +
		len(s.drains) + len(s.adopted) + len(s.lasting) + len(s.leavesDefault) + len(s.begins) + len(s.questions)
	return lists == 0 && !s.needsRestart && s.err == nil
}

// concat returns a list with another one after it. Most shares are empty: theirs cost
// nothing.
func concat[T any](list, more []T) []T {
	if list == nil {
		return more
	}
	return append(list, more...)
}

// A pendingReason is why something must wait. The zero value means that nothing does.
type pendingReason struct {
	why fault.Fault
	// restart says that it ends when the kubelet is restarted.
	restart bool
	// ofFile says that it is for the kubelet's file, which is left alone for now.
	ofFile bool
}

// pendingFor returns why something must wait, with what to do.
func pendingFor(what, fix string) pendingReason {
	return pendingReason{why: fault.Fault{What: what, Fix: fix}}
}

func (w pendingReason) none() bool { return w.why.None() }

// pendingShare returns the share of a source that is pending for a reason, an empty one
// if it waits for nothing.
func pendingShare(source string, w pendingReason) share {
	if w.none() {
		return share{}
	}
	p := NewPending(source, w.why)
	p.ofFile = w.ofFile
	return share{pending: []Pending{p}, needsRestart: w.restart}
}
