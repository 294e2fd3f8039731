package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// conflict returns the file of another program that is in the place of a mirror's
// hosts.toml or would be overridden by it, and why that file stays; the zero Conflict
// if there is none. containerd keeps reading such a file until the operator adopts
// it. conflict also returns what is adopted, now or before.
func (t tree) conflict(m mirror.Mirror) (Conflict, []adoption) {
	own := hosts.Namespace(m.Source)
	ns, exists := t.namespaces[own]
	if c := t.rancherConflict(m.Source); c.Reason != "" {
		return c, nil
	}
	if reason := t.foreign(ns); reason != "" {
		if ns.Unusable != "" { // which is about the directory
			return Conflict{Path: t.path(own), Reason: reason}, nil
		}
		return Conflict{Path: t.file(own), Reason: reason}, nil
	}
	if exists {
		if ns.Certs.None() {
			return Conflict{}, nil
		}
		adopted := t.adoption(own, certSum(ns))
		if adopted == nil && t.readsCerts(ns) {
			return Conflict{Path: t.path(own), Reason: t.certsLeft(m, own, ns)}, nil
		}
		return Conflict{}, adopted
	}
	return t.shadowConflict(m)
}

// shadowConflict is [tree.conflict] for the directory that the generated one would
// override.
func (t tree) shadowConflict(m mirror.Mirror) (Conflict, []adoption) {
	name, other := t.shadowed(m.Source)
	switch {
	case name == "":
		return Conflict{}, nil
	case other.Unusable != "" && other.Unusable != SymbolicLink:
		return Conflict{Path: t.path(name), Reason: fmt.Sprintf("%s, and containerd looks there for %q; remove it, or remove the source from the map", other.Unusable, m.Source)}, nil
	case !other.isUsed() || other.Owner() == hosts.Ours:
		return Conflict{}, nil
	}
	adopted := t.adoption(name, treeSum(other))
	switch {
	case adopted != nil:
		return Conflict{}, adopted
	case len(other.Hosts) == 0:
		return Conflict{Path: t.path(name), Reason: t.certsLeft(m, name, other)}, nil
	}
	if hosts.IsGeneratedByOther(other.Hosts) {
		return Conflict{Path: t.file(name), Reason: fmt.Sprintf("containerd reads it for %q, and it says that another program generates it; change that program's settings, or remove the source from the map", m.Source)}, nil
	}
	return Conflict{Path: t.file(name), Reason: fmt.Sprintf("containerd reads it for %q, and mirrorcred did not write it; move its settings to the map and run \"mirrorcred apply --adopt\", which keeps a copy of it", m.Source)}, nil
}

// foreign returns why a namespace is not written to, "" if it may be.
func (t tree) foreign(ns Namespace) string {
	switch {
	case ns.Unusable != "":
		return ns.Unusable + "; remove it, or remove the source from the map"
	case len(ns.Hosts) == 0 || ns.Owner() == hosts.Ours || t.adopt:
		return ""
	case ns.Owner() == hosts.Edited:
		return "it was edited since mirrorcred wrote it, so it gets no credential; see the edit with \"mirrorcred apply -n --adopt --diff\", put it into the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
	}
	if hosts.IsGeneratedByOther(ns.Hosts) {
		return "it says that another program generates it, which would write it again; change that program's settings, or remove the source from the map"
	}
	return "mirrorcred did not write it; move its settings to the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
}

// certsLeft says why the certificates in a directory stay as they are.
func (t tree) certsLeft(m mirror.Mirror, name string, ns Namespace) string {
	files := strings.Join(ns.Certs.Files(), ", ")
	settings := ns.Certs.Settings(t.path(name))
	if settings == "" {
		return fmt.Sprintf("%s in it may be half of a pair that is being set up for %q, and a hosts.toml would make containerd ignore it; remove it, or run \"mirrorcred apply --adopt\", which keeps a copy of it", files, m.Source)
	}
	return fmt.Sprintf("containerd uses %s in it for %q, and a hosts.toml would end that; if a target needs them, write %s under %s in the map, then run \"mirrorcred apply --adopt\", which keeps a copy of them", files, m.Source, settings, registryOf(m))
}

// registryOf names the table of the map for the settings of a mirror's source.
func registryOf(m mirror.Mirror) string {
	if slices.ContainsFunc(m.Targets, mirror.Target.Self) {
		return fmt.Sprintf("[registry.%q]", m.Source)
	}
	return "the [registry] of that target"
}

// A Naming is a place where a registries.yaml names a registry.
type Naming struct {
	By   string // k3s or RKE2
	File string
	Line int
	Host string // as it is spelled there
}

// rancherConflict returns the conflict with a registries.yaml that names a
// source, which no adoption ends.
func (t tree) rancherConflict(s mirror.Source) Conflict {
	if len(t.rancher) == 0 {
		return Conflict{}
	}
	own := hosts.Namespace(s)
	one, ok := t.rancher[own]
	if !ok {
		return Conflict{}
	}
	return Conflict{Path: t.file(own), Reason: fmt.Sprintf(
		"%s:%d names %q, and %s replaces this directory when it starts next; move its settings to the map (\"mirrorcred import %[1]s\" prints them) and take it out of that file, or remove the source from the map",
		one.File, one.Line, one.Host, one.By), Name: doctor.RegistriesYAMLOwns}
}
