package plan

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/cmd/internal/doctor"
	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// An adoption is another program's directory that the operator has adopted, with
// a hash of its contents.
type adoption struct{ name, sum string }

// adoption returns a directory as adopted if the operator adopts it now or has
// adopted these contents before, and else nil. It is remembered so that a deleted
// hosts.toml of mirrorcred's comes back without another --adopt.
func (t tree) adoption(name, sum string) []adoption {
	if !t.adopt && t.adopted[name] != sum {
		return nil
	}
	return []adoption{{name, sum}}
}

// certSum and treeSum identify the adopted contents of a namespace that mirrorcred
// writes to, and of one that it overrides. Certificates count by their names, so
// that one can be renewed in place.
func certSum(ns Namespace) string {
	return hosts.Hash([]byte(strings.Join(ns.Certs.Files(), "\x00")))
}

func treeSum(ns Namespace) string { return hosts.Hash([]byte(hosts.Hash(ns.Hosts) + certSum(ns))) }

// replaced returns the directory with files that containerd ignores once a mirror's
// hosts.toml is in place, and "" if there is none. Its share has a warning, since
// the map may lack the settings in those files.
func (t tree) replaced(m mirror.Mirror) (string, share) {
	name := hosts.Namespace(m.Source)
	which, exists := t.namespaces[name]
	if !exists {
		if name, which = t.shadowed(m.Source); name == "" {
			return "", t.leavesDefault(m)
		}
	}
	if which.Owner() == hosts.Ours || !which.isUsed() || exists && which.Certs.None() {
		return "", share{}
	}
	uses := t.readsCerts(which)
	if exists && !uses {
		return name, share{} // beside a hosts.toml that may name them, of which a copy is kept too
	}
	f := doctor.Finding{
		Name: doctor.DirectoryAdopted, Where: t.path(name),
		Text: fmt.Sprintf("containerd does not read it for %q any more; it stays, and a copy of its files is in %s", m.Source, SavedDir),
	}
	if settings := which.Certs.Settings(t.path(name)); settings != "" && uses && !t.namesCerts(m, name, which.Certs) {
		f.Text = fmt.Sprintf("containerd does not use %s in it for %q any more; they stay, and a copy is in %s", strings.Join(which.Certs.Files(), ", "), m.Source, SavedDir)
		f.Repair = fmt.Sprintf("if a target needs them, write %s under %s in the map", settings, registryOf(m))
	}
	return name, share{warnings: []doctor.Finding{f}}
}

// namesCerts reports whether a mirror names all certificates in a directory.
func (t tree) namesCerts(m mirror.Mirror, name string, certs hosts.Certs) bool {
	in := map[string]bool{}
	for _, target := range m.Targets {
		for _, file := range target.Settings.CA {
			in[path.Clean(file)] = true
		}
		for _, pair := range target.Settings.Client {
			in[path.Clean(pair[0])], in[path.Clean(pair[1])] = true, true
		}
	}
	return !slices.ContainsFunc(certs.Files(), func(file string) bool { return !in[path.Join(t.path(name), file)] })
}

// leavesDefault notes a source that another program's _default no longer serves.
// That is containerd's own order of precedence, and no conflict.
func (t tree) leavesDefault(m mirror.Mirror) share {
	ns := t.namespaces[hosts.Default]
	if m.Source.Any() || t.wanted[hosts.Default] || !ns.isUsed() || ns.Owner() == hosts.Ours {
		return share{}
	}
	return share{leavesDefault: []string{m.Source.String()}}
}

// defaultLeft warns, once for all of them, that sources now have directories of
// their own and that another program's _default no longer serves them.
func defaultLeft(t tree, sources []string) share {
	if len(sources) == 0 {
		return share{}
	}
	what := fmt.Sprintf("%q", sources[0])
	if more := len(sources) - 1; more > 0 {
		what += fmt.Sprintf(" and %d more sources of the map", more)
	}
	return share{warnings: []doctor.Finding{{
		Name: doctor.DefaultOfAnotherProgram, Where: t.path(hosts.Default),
		Text: fmt.Sprintf("another program wrote it, and containerd does not read it any more for %s, which the map serves; for other registries it does", what),
	}}}
}

// ignored warns of files that another program has put beside a mirror that is in
// force: containerd does not read them.
func (t tree) ignored(m mirror.Mirror, ns Namespace) share {
	var s share
	own := hosts.Namespace(m.Source)
	if !ns.Certs.None() {
		adopted := t.adoption(own, certSum(ns))
		s.adopted = append(s.adopted, adopted...)
		if adopted == nil && !t.namesCerts(m, own, ns.Certs) {
			s.warnings = append(s.warnings, t.certsIgnored(m, own, ns))
		}
	}
	name, other := t.shadowed(m.Source)
	if name == "" || !other.isUsed() || other.Owner() == hosts.Ours {
		return s
	}
	adopted := t.adoption(name, treeSum(other))
	s.adopted = append(s.adopted, adopted...)
	if adopted == nil {
		s.warnings = append(s.warnings, doctor.Finding{
			Name: doctor.DirectoryIgnored, Where: t.path(name),
			Text:   fmt.Sprintf("containerd does not read it for %q, because it finds %s first", m.Source, own),
			Repair: "move what it says into the map and remove it",
		})
	}
	return s
}

// certsIgnored returns the finding about certificates beside a hosts.toml in force.
func (t tree) certsIgnored(m mirror.Mirror, own string, ns Namespace) doctor.Finding {
	f := doctor.Finding{
		Name: doctor.CertificatesIgnored, Where: t.path(own),
		Text:   fmt.Sprintf("containerd does not use %s in it for %q, because there is a hosts.toml", strings.Join(ns.Certs.Files(), ", "), m.Source),
		Repair: "remove them",
	}
	if settings := ns.Certs.Settings(t.path(own)); settings != "" {
		f.Repair = fmt.Sprintf("if a target needs them, write %s under %s in the map, else remove them", settings, registryOf(m))
	}
	return f
}
