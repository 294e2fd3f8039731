package plan

import (
	"maps"
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
)

// settledConfiguration returns the share of the kubelet's configuration. It leaves the
// file alone if another program may be writing it or if it cannot be changed.
func settledConfiguration(c *configuring) (configuration, error) {
	next, err := configure(c)
	isChanged := next.files != nil
	if why := obstacle(c.seen.Kubelet.Obstacle); !why.None() && isChanged && err == nil {
		conflict := NewConflict(c.Map.Kubelet.Config, why)
		why.What = c.Map.Kubelet.Config + " cannot be changed: " + why.What
		left := next.left(c.seen.State, why)
		left.conflicts = []Conflict{conflict}
		return left, nil
	}
	if v := c.seen.Kubelet.Version; err == nil && !isChanged || c.Elsewhere || v.Stamp == "" || v.Stamp == c.seen.State.Stamp {
		return next, err
	}
	still, open := c.seen.ask(Question{About: AboutStillness, Path: c.path(c.Map.Kubelet.Config)})
	next.questions = append(next.questions, open...)
	if still.Text == "" {
		return next, err
	}
	left := next.left(c.seen.State, fault.Fault{What: still.Text, Until: "mirrorcred changes it once it has not changed for 2 s"})
	left.settles = still.Left
	return left, nil
}

// left returns the share that leaves the kubelet's configuration alone. Sources that
// need the change wait.
func (next configuration) left(s State, why fault.Fault) configuration {
	return configuration{
		share:    share{questions: next.questions},
		provided: s.Provided, memo: s.Memo, made: s.Made, rejected: s.Rejected,
		files: next.files, unsettled: why,
	}
}

// IsBroken reports whether a file is empty or does not parse.
func (k KubeletFiles) IsBroken() bool {
	for _, f := range k.list() {
		if len(f.Data) == 0 {
			return true
		}
		if _, err := k.Reader.Read(f); err != nil {
			return true
		}
	}
	return false
}

// leaveAll returns the share of a map that waits as a whole for the kubelet's file:
// the plugin's answers are in that file, and no hosts.toml may change without it.
func leaveAll(d *Desired, why fault.Fault) share {
	var s share
	for _, m := range d.Map.Mirrors {
		s = s.and(pendingShare(m.Source.String(), pendingReason{why: why, ofFile: true}))
	}
	return s
}

// moveAll has all routes name the hosts_dir that containerd reads now, if it was
// another before: what a kubelet still asks mirrorcred's plugin is answered as before.
func moveAll(r routes, t tree) share {
	var s share
	if r.oldDir == "" {
		return s
	}
	for _, name := range slices.Sorted(maps.Keys(r.files)) {
		if one, ok := r.of(name); ok {
			s = s.and(r.write(StageRoutes, name, t.namespaces[name].secret(), one))
		}
	}
	return s
}

// waitForFile returns a pending entry for the kubelet's file, unless a source has one.
func waitForFile(config string, why fault.Fault, pending []Pending) share {
	if why.None() || slices.ContainsFunc(pending, func(w Pending) bool { return w.ofFile }) {
		return share{}
	}
	return share{pending: []Pending{NewPending(config, why)}}
}

// obstacle returns why a file cannot be changed, as it was observed; nothing for "".
func obstacle(reason string) fault.Fault {
	what, fix := fault.Split(reason)
	return fault.Fault{What: what, Fix: fix}
}
