package plan

import (
	"bytes"
	"maps"
	"slices"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// When hosts_dir changes, containerd switches to the new tree at once, even for pulls
// that already have a credential. So before everything else, mirrorcred's files in
// the old tree are copied into the new one, and its leftovers there are removed. The
// plan goes on from there, as if containerd had always read the new tree, and drains
// end there. The old tree stays as it is, since containerd may be switched back to it.
//
// A run that is killed may leave some of that undone. A namespace whose route is for
// the new tree is moved: what is there is newer than what is in the old tree.

// carryOver returns the changes that copy mirrorcred's files from the old tree into
// the new one, and the new tree as it is after them.
func carryOver(t tree, old map[string]Namespace, r routes) (share, tree) {
	if old == nil {
		return share{}, t
	}
	var s share
	t.namespaces = maps.Clone(t.namespaces)
	for _, name := range slices.Sorted(maps.Keys(old)) {
		ns := old[name]
		if ns.Unusable != "" || ns.Owner() != hosts.Ours || r.isMoved(name) || t.conflictsWith(name, ns) {
			continue
		}
		now, exists := t.namespaces[name]
		s.changes = append(s.changes, Change{
			Stage: StageCarry, Path: t.file(name),
			Old: now.Hosts, New: ns.Hosts, Mode: ns.Mode, secret: ns.secret() || now.secret(), Dir: !exists,
		})
		now.Hosts, now.Mode, now.Closed = ns.Hosts, ns.Mode, ns.Closed
		t.namespaces[name] = now
	}
	for _, name := range slices.Sorted(maps.Keys(t.namespaces)) {
		ns := t.namespaces[name]
		if ns.Unusable != "" || ns.Owner() != hosts.Ours || old[name].Owner() == hosts.Ours || r.isMoved(name) || !ns.Alone {
			continue
		}
		s.changes = append(s.changes, Change{Stage: StageCarry, Path: t.file(name), Old: ns.Hosts, secret: ns.secret(), Dir: true})
		delete(t.namespaces, name)
	}
	return s, t
}

// conflictsWith reports whether a namespace of the old tree cannot be carried over,
// because the new tree has it already, or has a file of another program that would be
// replaced or overridden.
func (t tree) conflictsWith(name string, ns Namespace) bool {
	now, exists := t.namespaces[name]
	switch {
	case exists && (now.Unusable != "" || now.isOwnedByOther()), bytes.Equal(now.Hosts, ns.Hosts):
		return true
	case exists:
		return false
	}
	source, err := mirror.ParseSource(hosts.HostOf(name))
	if err != nil {
		return false
	}
	_, other := t.shadowed(source)
	return other.isUsed()
}

// isOwnedByOther reports whether a namespace has files of another program, which stay. An
// empty hosts.toml does not count: with it, containerd would ask the source, and offer
// it the credential that a pull got before hosts_dir changed.
func (ns Namespace) isOwnedByOther() bool {
	if len(ns.Hosts) > 0 {
		return ns.Owner() != hosts.Ours
	}
	return !ns.Certs.None() || ns.HasOthers
}

// PreviousTree returns the hosts_dir of the routes, or else of the last map, if it
// differs from the present map's; "" if it does not.
func PreviousTree(o Observed, hostsDir string) string {
	dirs := RouteFiles{Data: o.Routes}.HostsDirs(o.State.Containerd.HostsDir)
	for _, dir := range append(dirs, o.State.Containerd.HostsDir) {
		if dir != "" && dir != hostsDir {
			return dir
		}
	}
	return ""
}

// CarryOver plans only the first step after hosts_dir changes: mirrorcred's files in
// the old tree are copied into the new one.
func CarryOver(o Observed, hostsDir string) Plan {
	s, _ := carryOver(tree{dir: hostsDir, namespaces: o.Namespaces}, o.oldNamespaces(), newRoutes(&o, hostsDir))
	sortChanges(s.changes)
	return Plan{HostsDir: hostsDir, Refused: map[string]bool{}, Changes: s.changes}
}

// oldNamespaces returns the namespaces of the old tree, nil if hosts_dir did not
// change.
func (o *Observed) oldNamespaces() map[string]Namespace {
	switch {
	case o.OldHostsDir == "":
		return nil
	case o.OldNamespaces == nil:
		return map[string]Namespace{}
	}
	return o.OldNamespaces
}
