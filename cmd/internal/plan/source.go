package plan

import (
	"bytes"
	"io/fs"
	"slices"

	"github.com/mirrorcred/mirrorcred/credential/route"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A situation is the input for planning a source: what is desired, what was observed,
// and what the earlier parts have found. It does not change once it is made.
type situation struct {
	*Desired
	seen     *Observed
	now      Moments
	tree     tree
	routes   routes
	kubelets *kubelets
	// blocked are the namespaces that stay as they are. stuck are those of them in
	// which nothing can be changed, with the reasons.
	blocked map[string]bool
	stuck   map[string]string
	// held are the namespaces whose removal is held, and kept those of the map whose
	// change is held.
	held, kept map[string]bool
	// lasting are the namespaces whose routes have forgotten a credential that
	// does not expire, and that a kubelet may still have.
	lasting map[string]Moment
	// direct is the credential of login servers without a mirror, nil if there
	// is none.
	direct *mirror.Credential
}

// A source is one mirror of the map, with what is there for it.
type source struct {
	*situation
	mirror.Mirror
	file hosts.File
	ns   Namespace
	own  route.Route // its route as it is
	// next is the generation of the new file, and after all generations of the new
	// route.
	next  route.Generation
	after []route.Generation
}

func newSource(in *situation, m mirror.Mirror, f hosts.File) *source {
	s := &source{situation: in, Mirror: m, file: f, ns: in.tree.namespaces[f.Namespace]}
	s.own, _ = in.routes.of(f.Namespace)
	s.next = in.generation(m, f)
	s.after = append([]route.Generation{s.next}, s.spent()...)
	return s
}

// planSource returns the share of the mirror with that index: its route, and its
// hosts.toml if that may change now.
func planSource(in *situation, i int) share {
	m, f, settlement := in.Map.Mirrors[i], in.Files[i], in.routes.settled.at(i)
	switch {
	case len(in.kept) > 0 && in.kept[f.Namespace]:
		return keepMirror(in, m, f)
	case settlement.isPlain:
		return routed(in, m, settlement.isAnonymous)
	case settlement.isSettled:
		return keepSource(in, m, f, settlement.isAnonymous)
	}
	isThere, isWithdrawn := in.tree.namespaces[f.Namespace].Holds(f), in.routes.isWithdrawn(f.Namespace)
	if isThere && !isWithdrawn {
		return keepRoute(in, m, f)
	}
	s := newSource(in, m, f)
	isLost := s.isLost()
	switch {
	case isLost && !s.next.Anonymous():
		return s.finishDrain()
	case isThere:
		return keepRoute(in, m, f)
	}
	now := withObserved(s.after, s.own, s.ns)
	v := s.judge()
	found := share{changes: make([]Change, 0, 3), conflicts: v.conflicts, adopted: v.adopted}.and(v.begins).and(pendingShare(m.Source.String(), v.pending))
	switch {
	case v.stays && isLost:
		return s.finishDrain().and(v.begins)
	case v.stays:
		return found.and(s.answer(now))
	case v.exposure != nil:
		return found.and(s.switchTo(*v.exposure))
	}
	if found = found.and(late(in, m)); !bytes.Equal(s.ns.Hosts, f.Data) {
		found = found.and(s.noteLasting())
	}
	return found.and(realmUnasked(s.situation, s.Mirror, s.next.Anonymous())).and(s.replace(now))
}

// keepRoute is [planSource] for a mirror whose hosts.toml is as the map says.
func keepRoute(in *situation, m mirror.Mirror, f hosts.File) share {
	next := in.generation(m, f)
	s := &source{situation: in, Mirror: m, file: f, ns: in.tree.namespaces[f.Namespace], next: next, after: []route.Generation{next}}
	var found share
	if _, begun := in.seen.State.Drains[f.Namespace]; begun || next.Anonymous() || in.routes.isWithdrawn(f.Namespace) {
		s = newSource(in, m, f)
		isDrained, open := wasDrained(in, f.Namespace, s.own)
		if found.questions = open; isDrained {
			s.after = s.after[:1]
		}
	}
	return found.and(s.answer(s.after)).and(keepSource(in, m, f, next.Anonymous()))
}

// keepSource is [planSource] for a mirror whose files are as the map says, or will be.
func keepSource(in *situation, m mirror.Mirror, f hosts.File, isAnonymous bool) share {
	found := routed(in, m, isAnonymous).and(in.tree.ignored(m, in.tree.namespaces[f.Namespace])).and(late(in, m)).and(realmUnasked(in, m, isAnonymous))
	if c := in.tree.rancherConflict(m.Source); c.Reason != "" {
		found.conflicts = append(found.conflicts, c)
	}
	return found
}

// routed returns what the kubelets have against a mirror that is routed.
func routed(in *situation, m mirror.Mirror, isAnonymous bool) share {
	if in.kubelets.areNone() {
		return share{}
	}
	w := in.kubelets.keepsAnswering(m.Source.String(), only(m))
	if w.none() && !isAnonymous {
		w = in.kubelets.misses(m)
	}
	return pendingShare(m.Source.String(), w)
}

// A verdict says whether a mirror can be changed to what the map says.
type verdict struct {
	// stays says that its hosts.toml stays as it is for now.
	stays     bool
	pending   pendingReason
	conflicts []Conflict
	adopted   []adoption
	begins    share // of a wait for the first target
	// exposure is the credential that the change would expose, nil if it exposes
	// none.
	exposure *exposure
}

// judge returns what prevents a mirror from matching the map.
func (s *source) judge() verdict {
	name := s.Source.String()
	conflict, adopted := s.tree.conflict(s.Mirror)
	v := verdict{adopted: adopted}
	switch {
	case conflict.Reason != "":
		v.conflicts = []Conflict{conflict}
		v.stays, v.pending = true, s.kubelets.keepsAnswering(name, name)
	case s.blocked[s.file.Namespace]:
		if reason := s.stuck[s.file.Namespace]; reason != "" {
			v.conflicts = []Conflict{NewConflict(s.tree.file(s.file.Namespace), obstacle(reason))}
		}
		v.stays, v.pending = true, s.kubelets.keepsAnswering(name, name)
	case bytes.Equal(s.ns.Hosts, s.file.Data): // only its mode differs
	default:
		v.pending = s.kubelets.mayKeepAnswering(name, only(s.Mirror), s.ns)
		if v.pending.none() && !s.next.Anonymous() {
			v.pending = s.kubelets.pending(s.Mirror)
		}
		var unready pendingReason
		if unready, v.begins = s.unready(); v.pending.none() {
			v.pending = unready
		}
		if v.stays = !v.pending.none(); !v.stays {
			v.exposure = s.exposed()
		}
	}
	return v
}

// switchTo returns the share of a change that exposes a credential: the old mirror
// is drained first.
func (s *source) switchTo(e exposure) share {
	drained, isOver := drain(s.situation, s.file.Namespace, s.own, e.before, e.why(), e.pending)
	if !isOver {
		return drained
	}
	// The route stays withdrawn until the new file is in place: under the old
	// one, nothing may be answered any more.
	return drained.and(s.write()).and(s.route(StageForget, s.after[:1]))
}

// spent returns the generations that a route keeps beside an anonymous one: a
// pull may still have their credential when the mirror is removed.
func (s *source) spent() []route.Generation {
	if !s.next.Anonymous() {
		return nil
	}
	return slices.DeleteFunc(s.answered(), func(g route.Generation) bool {
		return g.Anonymous() || g.SHA256 == s.next.SHA256
	})
}

// answered returns the generations by which the plugin may have answered for a source:
// those of its route, and those of "*" while its own directory is missing.
func (s *source) answered() []route.Generation {
	list := slices.Clone(s.own.Generations)
	_, there := s.tree.namespaces[s.file.Namespace]
	if _, any := s.tree.namespaces[hosts.Default]; any && !there && !s.Source.Any() && s.routes.needed && !s.Elsewhere && s.kubelets.mayHaveRun(s.Source) {
		r, _ := s.routes.of(hosts.Default)
		list = append(list, r.Generations...)
	}
	return list
}

// route returns the share of the source's route.
func (s *source) route(stage Stage, generations []route.Generation) share {
	r := route.Route{Source: s.Source.String(), Generations: generations}
	if s.Source.Any() {
		r.Direct = s.direct
	}
	return s.routes.write(stage, s.file.Namespace, s.file.Secret, r)
}

// write returns the share of the source's hosts.toml.
func (s *source) write() share {
	_, exists := s.tree.namespaces[s.file.Namespace]
	keep, found := s.tree.replaced(s.Mirror)
	found.changes = append(found.changes, Change{
		Stage: StageHosts, Path: s.tree.file(s.file.Namespace), Old: s.ns.Hosts, New: s.file.Data, Mode: fileMode(s.file),
		secret: s.file.Secret || s.ns.secret(), Dir: !exists, Save: s.ns.Owner() != hosts.Ours && len(s.ns.Hosts) > 0,
		BackUp: keep,
	})
	return found
}

// Holds reports whether a namespace has a rendered file, with its mode.
func (ns Namespace) Holds(f hosts.File) bool {
	return ns.Unusable == "" && bytes.Equal(ns.Hosts, f.Data) && (!f.Secret || ns.Mode == fileMode(f) && ns.Closed)
}

func fileMode(f hosts.File) fs.FileMode {
	if f.Secret {
		return 0o600
	}
	return 0o644
}

// secret reports whether the hosts.toml in a namespace is closed to others.
func (ns Namespace) secret() bool { return ns.Hosts != nil && ns.Mode&0o077 == 0 }
