package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
)

// tick is how far apart two times must be to tell which was first: the start of a
// process is known to a hundredth of a second.
const tick = 20 * time.Millisecond

// A kubeletRead is what a running kubelet has read, so that it stays known after
// another program changes the file.
type kubeletRead struct {
	PID     int     `json:"pid"`
	Started Moment  `json:"started"`
	Entries []Entry `json:"entries"`
	// Untold says that it was not known whether the wall clock had been set, so that
	// the file's time was taken as it is.
	Untold bool `json:"untold,omitempty"`
}

// is reports whether r is about the kubelet k.
func (r kubeletRead) is(k Process) bool { return r.PID == k.PID && r.Started == k.Started }

// Knows reports whether s remembers what a kubelet has read.
func (s State) Knows(k Process) bool {
	return slices.ContainsFunc(s.Kubelets, func(r kubeletRead) bool { return r.is(k) })
}

// reads are what the kubelets that run have read of mirrorcred's providers.
type reads struct {
	list  []kubelet
	known []kubeletRead // to be remembered
	// warnings are of what is less than certain.
	warnings []doctor.Finding
}

// readBy returns what each kubelet has read. provided has the earlier states of
// mirrorcred's providers, each with its beginning. What a kubelet read is known from an earlier
// pass, or from the time at which mirrorcred wrote the file. If another program wrote it
// last, the file's time decides: a kubelet has read the file if it is younger than
// the file, unless the wall clock was set since.
func readBy(d *Desired, o *Observed, m machine, provided []provided) reads {
	var r reads
	for _, process := range m.running {
		one, isKnown := kubeletRead{}, false
		if i := slices.IndexFunc(o.State.Kubelets, func(r kubeletRead) bool { return r.is(process) }); i >= 0 {
			one, isKnown = o.State.Kubelets[i], true
		} else {
			one = kubeletRead{PID: process.PID, Started: process.Started}
			one.Entries, one.Untold = readSince(o, process, provided)
			isKnown = one.Entries != nil
		}
		if isKnown {
			r.known = append(r.known, one)
		}
		if one.Untold {
			r.warnings = append(r.warnings, untold(process.PID))
		}
		r.list = append(r.list, kubelet{process, misconfigured(d.Map.Kubelet, process), one.Entries != nil, newProviders(one.Entries)})
	}
	return r
}

// readSince returns mirrorcred's providers as read by a kubelet that was not seen before, nil
// if that is not known. isUntold says that the wall clock may have been set.
func readSince(o *Observed, k Process, provided []provided) (entries []Entry, isUntold bool) {
	if o.isLastWriter() {
		return State{Provided: provided}.readBy(k.Started), false
	}
	if o.Kubelet.Version.Stamp == "" {
		return nil, false
	}
	changed := o.Kubelet.Changed
	changed.Since += tick + k.Dating.Drift
	if o.Kubelet.ChangedFault == nil && !k.Dating.Worthless && changed.Before(k.Started) {
		return append([]Entry{}, o.entries()...), k.Dating.Untold
	}
	return nil, false
}

// untold warns that what a kubelet has read is less than certain.
func untold(pid int) doctor.Finding {
	return doctor.Finding{
		Name:   doctor.ClockUnknown,
		Where:  fmt.Sprintf("process %d", pid),
		Text:   "cannot tell whether the wall clock was set after this kubelet started; if it was, the kubelet may not have read its present configuration, and pulls may have no credential",
		Repair: "restart the kubelet while \"mirrorcred watch\" runs, or run it as a systemd service",
	}
}

// afterOtherWriter returns the states of mirrorcred's providers, with one more for kubelets
// that started after another program changed the file and before mirrorcred changes it: what
// those have read is not known.
func afterOtherWriter(o *Observed, boot string, list []provided) ([]provided, error) {
	if o.isLastWriter() || len(list) == 0 {
		return list, nil
	}
	if o.Kubelet.ChangedFault != nil {
		return nil, o.Kubelet.ChangedFault
	}
	from := o.Kubelet.Changed
	if o.ClockSet {
		from = Moment{Boot: boot} // it may have been at any time of this boot
	}
	return append(slices.Clone(list), provided{From: from}), nil
}

// isLastWriter reports whether no program changed the kubelet's files since mirrorcred wrote
// them. The state of an earlier version does not say; then nothing has changed them.
func (o *Observed) isLastWriter() bool {
	if o.State.Stamp == "" {
		return len(o.State.Provided) > 0
	}
	return o.State.Stamp == o.Kubelet.Version.Stamp
}
