package plan

import (
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/route"
)

// When a source is put back into the map while its mirror drains, it is answered
// again and stays routed. But its pattern left the kubelet's configuration when the
// drain began, and a kubelet that has started since does not ask for its credential.
// Then the drain goes on to its end, hosts.toml goes, and the source is a new one: it
// waits for a kubelet that matches it.

// isLost reports whether a mirror was withdrawn, and a kubelet that runs does not ask
// for its credential any more.
func (s *source) isLost() bool {
	if s.own.Withdrawn == "" || s.Elsewhere || !s.routes.needed || !s.tree.isOurs(s.file.Namespace) {
		return false
	}
	if g, ok := observedGeneration(s.own, s.ns); ok && g.Anonymous() {
		return false
	}
	if why := s.kubelets.lacksNow(s.Mirror); !why.None() {
		return true // a kubelet may start with that at any moment
	}
	d, begun := s.seen.State.Drains[s.file.Namespace]
	needs := s.kubelets.needed(s.Mirror)
	if len(needs) == 0 {
		needs = []Entry{{Name: PluginName}} // of the file in force, if not of the next one
	}
	return slices.ContainsFunc(s.kubelets.list, func(k kubelet) bool {
		isNew := begun && d.Since.Before(k.Started)
		return (k.known || isNew) && k.lacks(needs, s.Mirror) != "" && !k.hasOther(s.Mirror, s.kubelets.plugin)
	})
}

// finishDrain returns the share of a mirror that is lost: it goes when no pull that
// has its credential can begin any more.
func (s *source) finishDrain() share {
	name := s.file.Namespace
	found, isOver := drain(s.situation, name, s.own, s.own, takenOut, func(why fault.Fault) fault.Fault {
		why.Until = "it is activated again after that, once the kubelet asks for its credential"
		return why
	})
	conflict, adopted := s.tree.conflict(s.Mirror)
	if found.adopted = adopted; conflict.Reason != "" {
		found.conflicts = []Conflict{conflict}
	}
	if !isOver {
		return found
	}
	found, isGone := takeAway(s.situation, name, found, "its source was taken out of the map and put back, and the kubelet does not ask for its credential yet")
	if !isGone {
		return found
	}
	return found.and(pendingShare(s.Source.String(), s.kubelets.pending(s.Mirror))).and(s.route(StageForget, s.after[:1]))
}

// answer returns the share of a route that answers by these generations. One that was
// withdrawn stays so until the kubelet's configuration names its source again: a
// kubelet that starts before that does not ask for it.
func (s *source) answer(generations []route.Generation) share {
	if s.own.Withdrawn == "" {
		return s.route(StageRoutes, generations)
	}
	return s.staysWithdrawn().and(s.route(StageAnswer, generations))
}

// staysWithdrawn returns the share of a withdrawn route that names the hosts_dir
// that containerd reads now.
func (s *source) staysWithdrawn() share {
	return s.routes.write(StageRoutes, s.file.Namespace, s.file.Secret, s.own)
}

// replace returns the share of a new hosts.toml, and of the route before and after
// it. now are the generations of both files.
func (s *source) replace(now []route.Generation) share {
	if s.own.Withdrawn != "" && s.next.Anonymous() {
		// With the old file the plugin returns nothing any more, and with the new
		// one it need not.
		return s.staysWithdrawn().and(s.write()).and(s.route(StageForget, s.after))
	}
	found := s.answer(now).and(s.write())
	if len(now) > len(s.after) {
		found = found.and(s.route(StageForget, s.after))
	}
	return found
}
