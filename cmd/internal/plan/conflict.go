package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/cmd/internal/fault"
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
	if why := t.foreign(ns); !why.None() {
		if ns.Unusable != "" { // which is about the directory
			return NewConflict(t.path(own), why), nil
		}
		return NewConflict(t.file(own), why), nil
	}
	if exists {
		if ns.Certs.None() {
			return Conflict{}, nil
		}
		adopted := t.adoption(own, certSum(ns))
		if adopted == nil && t.readsCerts(ns) {
			return NewConflict(t.path(own), t.certsLeft(m, own, ns)), nil
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
		return NewConflict(t.path(name), fault.Fault{What: fmt.Sprintf("%s, and containerd looks there for %q", other.Unusable, m.Source), Fix: removeIt}), nil
	case !other.isUsed() || other.Owner() == hosts.Ours:
		return Conflict{}, nil
	}
	adopted := t.adoption(name, treeSum(other))
	switch {
	case adopted != nil:
		return Conflict{}, adopted
	case len(other.Hosts) == 0:
		return NewConflict(t.path(name), t.certsLeft(m, name, other)), nil
	}
	if hosts.IsGeneratedByOther(other.Hosts) {
		return NewConflict(t.file(name), fault.Fault{What: fmt.Sprintf("containerd reads it for %q, and it says that another program generates it", m.Source), Fix: changeIt, Until: goesOn}), nil
	}
	return NewConflict(t.file(name), fault.Fault{What: fmt.Sprintf("containerd reads it for %q, and mirrorcred did not write it", m.Source), Fix: adoptIt, Until: goesOn}), nil
}

// What to do about another program's file, and what happens until then.
const (
	removeIt = "remove it, or remove the source from the map"
	changeIt = "change that program's settings, or remove the source from the map"
	adoptIt  = "move its settings to the map and run \"mirrorcred apply --adopt\", which keeps a copy of it"
	goesOn   = "containerd goes on as the file says, and the plugin returns no credential for it"
)

// foreign returns why a namespace is not written to, nothing if it may be.
func (t tree) foreign(ns Namespace) fault.Fault {
	switch {
	case ns.Unusable != "":
		return fault.Fault{What: ns.Unusable, Fix: removeIt}
	case len(ns.Hosts) == 0 || ns.Owner() == hosts.Ours || t.adopt:
		return fault.Fault{}
	case ns.Owner() == hosts.Edited:
		return fault.Fault{
			What:  "it was edited since mirrorcred wrote it, so it gets no credential",
			Fix:   "see the edit with \"mirrorcred apply -n --adopt --diff\", put it into the map and run \"mirrorcred apply --adopt\", which keeps a copy of it",
			Until: goesOn,
		}
	}
	if hosts.IsGeneratedByOther(ns.Hosts) {
		return fault.Fault{What: "it says that another program generates it, which would write it again", Fix: changeIt, Until: goesOn}
	}
	return fault.Fault{What: "mirrorcred did not write it", Fix: adoptIt, Until: goesOn}
}

// certsLeft says why the certificates in a directory stay as they are.
func (t tree) certsLeft(m mirror.Mirror, name string, ns Namespace) fault.Fault {
	files := strings.Join(ns.Certs.Files(), ", ")
	settings := ns.Certs.Settings(t.path(name))
	if settings == "" {
		return fault.Fault{
			What:  fmt.Sprintf("%s in it may be half of a pair that is being set up for %q, and a hosts.toml would make containerd ignore it", files, m.Source),
			Fix:   "remove it, or run \"mirrorcred apply --adopt\", which keeps a copy of it",
			Until: goesOn,
		}
	}
	return fault.Fault{
		What:  fmt.Sprintf("containerd uses %s in it for %q, and a hosts.toml would end that", files, m.Source),
		Fix:   fmt.Sprintf("if a target needs them, write %s under %s in the map, then run \"mirrorcred apply --adopt\", which keeps a copy of them", settings, registryOf(m)),
		Until: goesOn,
	}
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
	return NewConflict(t.file(own), fault.Fault{
		Name: doctor.RegistriesYAMLOwns,
		What: fmt.Sprintf("%s:%d names %q, and %s replaces this directory when it starts next", one.File, one.Line, one.Host, one.By),
		Fix:  fmt.Sprintf("move its settings to the map (\"mirrorcred import %s\" prints them) and take it out of that file, or remove the source from the map", one.File),
	})
}
