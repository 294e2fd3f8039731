package plan

import (
	"maps"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/route"
)

// Routes forget earlier credentials. If one of those does not expire, a later drain
// must not end just because the known ones do. So it is remembered as long as a
// kubelet that may have it is running.

// lastingOf returns the remembered credentials that do not expire and still count. It
// also returns the namespaces for which the time is not known, because the run that
// forgot the credential did not finish.
func lastingOf(o *Observed, now Moments, m machine) (kept map[string]Moment, unfinished []string) {
	kept = map[string]Moment{}
	for _, name := range slices.Sorted(maps.Keys(o.State.Lasting)) {
		until := o.State.Lasting[name]
		if until == (Moment{}) {
			unfinished = append(unfinished, name)
		} else if until.Boot != now.Boot || m.unseen.None() && !slices.ContainsFunc(m.running, func(k Process) bool { return !until.Before(k.Started) }) {
			continue
		}
		kept[name] = until
	}
	return kept, unfinished
}

// noteLasting notes that a source's route is about to forget credentials that do
// not expire.
func (s *source) noteLasting() share {
	if s.Elsewhere {
		return share{}
	}
	if !slices.ContainsFunc(s.answered(), func(g route.Generation) bool {
		return !g.Anonymous() && !g.Expires() && !has(s.after, g)
	}) {
		return share{}
	}
	return share{lasting: []string{s.file.Namespace}}
}
