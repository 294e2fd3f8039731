package plan

import (
	"slices"

	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
)

// removed returns the share of the namespaces that are no longer in the map, and
// those of them that cannot be removed and keep their routes.
func removed(in *situation) (share, map[string]bool) {
	var s share
	stuck := map[string]bool{}
	var names []string // few of them are not wanted
	for name := range in.tree.namespaces {
		if !in.Wanted[name] && !in.held[name] {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		ns := in.tree.namespaces[name]
		if ns.Unusable != "" {
			continue
		}
		switch ns.Owner() {
		case hosts.Edited:
			s.conflicts = append(s.conflicts, NewConflict(in.tree.file(name), fault.Fault{What: "its source is no longer in the map, and the file was edited since mirrorcred wrote it", Fix: "remove the directory if containerd should use the source itself"}))
		case hosts.Ours:
			next, isStuck := remove(in, name, ns)
			s = s.and(next)
			if isStuck {
				stuck[name] = true
			}
		}
	}
	return s, stuck
}

// remove returns the share of one namespace that is removed. First its route is
// withdrawn; it is removed once no pull with its credential can begin any more. remove
// also reports whether the namespace cannot be removed.
func remove(in *situation, name string, ns Namespace) (s share, isStuck bool) {
	r, _ := in.routes.of(name)
	_, known := observedGeneration(r, ns)
	anonymous := known && r.Withdrawn == "" && !slices.ContainsFunc(r.Generations, needsCredential)
	if !anonymous && !in.Elsewhere && in.routes.needed {
		drained, isOver := drain(in, name, r, r, takenOut, plainly)
		if s = drained; !isOver {
			return s, false
		}
	}
	s, _ = takeAway(in, name, s, "its source is no longer in the map")
	return s, in.seen.Obstacles[name] != ""
}

// takeAway returns the share of a namespace whose drain is over, and that drain's
// share before it; why says why it goes. It is false if the namespace has to stay.
func takeAway(in *situation, name string, s share, why string) (share, bool) {
	ns := in.tree.namespaces[name]
	if kept := stillAnswered(in, name, ns); len(kept.draining) > 0 {
		return s.and(kept), false
	}
	if reason := in.seen.Obstacles[name]; reason != "" {
		for i := range s.drains {
			s.drains[i].ends = false // the hosts.toml is still in force
		}
		stuck := obstacle(reason)
		stuck.What += ", and " + why
		s.conflicts = append(s.conflicts, NewConflict(in.tree.file(name), stuck))
		return s, false
	}
	s.changes = append(s.changes, Change{Stage: StageRemove, Path: in.tree.file(name), Old: ns.Hosts, secret: ns.secret(), Dir: !ns.HasOthers})
	if ns.HasOthers {
		s.conflicts = append(s.conflicts, NewConflict(in.tree.path(name), fault.Fault{
			What: why + ", and the directory has other files", Until: "containerd uses the source itself, even if \"*\" has a mirror", Fix: "remove the directory",
		}))
	}
	return s, true
}

// takenOut is why a mirror drains that the map does not name any more.
const takenOut = "its mirror was taken out of the mirror map"

func needsCredential(g route.Generation) bool { return !g.Anonymous() }

// stillAnswered returns the share of a removed namespace that must stay because a
// kubelet still has [mirror.Stock] answer for its source, an empty one if it need not
// stay.
func stillAnswered(in *situation, name string, ns Namespace) share {
	source := hosts.HostOf(name)
	w := in.kubelets.mayKeepAnswering(source, source, ns) // which is asked itself then
	if w.none() {
		return share{}
	}
	step := drainStep{name: name}
	known, begun := in.seen.State.Drains[name]
	if step.Drain = known; !begun {
		step.Drain, step.begins = Drain{Source: source, Since: in.now.Moment}, true
	}
	return share{drains: []drainStep{step}, draining: []Pending{NewPending(source, w.why)}, needsRestart: w.restart}
}

// fallback returns the share of the route for hosts without a route of their own.
// Without a mirror of "*", that route has only the credential of ACR login servers.
// stays reports whether a namespace is still needed.
func fallback(in *situation, stays func(name string) bool) share {
	if in.Wanted[hosts.Default] || stays(hosts.Default) {
		return share{}
	}
	stage := StageRoutes
	if in.tree.isOurs(hosts.Default) {
		// It goes with this plan. Until then its route says that.
		stage = StageForget
	}
	return in.routes.write(stage, hosts.Default, false, route.Route{Source: "*", Direct: in.direct})
}

// staleRoutes returns the removal of the routes without a mirror. stays reports
// whether a namespace is still needed.
func staleRoutes(in *situation, stays func(name string) bool) share {
	var s share
	var names []string
	for name := range in.routes.files {
		if !in.routes.needed || !in.Wanted[name] && name != hosts.Default && !stays(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		s.changes = append(s.changes, Change{Stage: StageForget, Path: in.routes.path(name), Old: in.routes.files[name]})
	}
	return s
}
