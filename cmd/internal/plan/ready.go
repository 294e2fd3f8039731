package plan

import (
	"fmt"
	"time"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A mirror with "ready" in the map is turned on once its first target has answered, or
// once the time is over. What answered is observed: package ready asks the network. When
// the wait began is remembered, so that it ends even if no program asks. A mirror that is
// on stays on: "ready" only delays.

// NotReady is what the reason says about the first target while a mirror waits for it.
const NotReady = "does not answer yet"

// unready returns why a mirror is not turned on yet, and the share that remembers since
// when it waits.
func (s *source) unready() (pendingReason, share) {
	key := s.ReadyKey()
	switch {
	case s.Ready == 0 || s.seen.Ready[key] || s.usesFirstTarget():
		return pendingReason{}, share{}
	case s.Elsewhere:
		return notReady(s.firstTarget()+" "+NotReady+", as nothing is asked from here", fmt.Sprintf("the node turns the mirror on once it does, %s after its first run at the latest", s.Ready)), share{}
	}
	since, begun := s.seen.State.pendingSince(key, s.now.Moment)
	if !begun {
		since = s.now.Moment
	}
	begins := share{begins: []string{key}}
	left := s.Ready - (s.now.Since - since.Since)
	if left <= 0 {
		return pendingReason{}, begins
	}
	until := s.now.Wall.Add(left) // a point in time: the reason may be read later
	return notReady(s.firstTarget()+" "+NotReady, fmt.Sprintf("the mirror is turned on once it does, at %s at the latest", until.Local().Format(time.TimeOnly))), begins
}

func notReady(what, until string) pendingReason {
	return pendingReason{why: fault.Fault{Name: doctor.MirrorNotReady, What: what, Until: until}}
}

// usesFirstTarget reports whether the file in force asks the first target first already, so
// that only something else about the mirror changes.
func (s *source) usesFirstTarget() bool {
	return s.tree.isOurs(s.file.Namespace) && UsesFirstTarget(s.ns.Hosts, s.Mirror, s.Version)
}

// UsesFirstTarget reports whether a hosts.toml of mirrorcred's asks the first target of a mirror
// first.
func UsesFirstTarget(data []byte, m mirror.Mirror, v hosts.Version) bool {
	if hosts.OwnerOf(data) != hosts.Ours {
		return false
	}
	list, err := hosts.Read(data, hosts.HostOf(hosts.Namespace(m.Source)), v)
	t := m.Targets[0]
	return err == nil && list[0].Scheme == t.Scheme() && list[0].Host == t.Host().String() && list[0].Path == t.API()
}

// late warns of a mirror that is on although its first target has not answered in its
// time.
func late(in *situation, m mirror.Mirror) share {
	if m.Ready == 0 || in.Elsewhere || in.seen.Ready[m.ReadyKey()] {
		return share{}
	}
	since, begun := in.seen.State.pendingSince(m.ReadyKey(), in.now.Moment)
	if !begun || in.now.Since-since.Since < m.Ready {
		return share{}
	}
	t := m.Targets[0]
	return share{warnings: []doctor.Finding{{
		Name: doctor.MirrorNotReady, Where: m.Source.String(),
		Text:   fmt.Sprintf("%s did not answer within %s, and the mirror was turned on anyway", t, m.Ready),
		Repair: fmt.Sprintf("see why with: curl -i %s://%s/v2/", t.Scheme(), t.Host()),
	}}}
}

func (s *source) firstTarget() string { return fmt.Sprintf("%q", s.Targets[0]) }

// pendingSince returns since when a mirror waits for its first target, and false if that is
// not remembered from this boot.
func (s State) pendingSince(key string, now Moment) (Moment, bool) {
	since, ok := s.Ready[key]
	return since, ok && since.Boot == now.Boot
}

// nextReady returns the waits to remember: those that begin, and of the earlier ones
// those that the map still has.
func nextReady(m *mirror.Map, state State, begins []string, now Moment) map[string]Moment {
	var next map[string]Moment
	keep := func(key string, since Moment) {
		if next == nil {
			next = map[string]Moment{}
		}
		next[key] = since
	}
	for _, key := range begins {
		keep(key, now)
	}
	if len(state.Ready) == 0 {
		return next
	}
	for _, one := range m.Mirrors {
		if one.Ready == 0 {
			continue
		}
		if since, ok := state.pendingSince(one.ReadyKey(), now); ok {
			keep(one.ReadyKey(), since)
		}
	}
	return next
}
