package importer

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A draft collects what is imported until it is written as a map.
type draft struct {
	options     Options
	from        string // what the map names as its origin
	mirrors     []route
	registries  []registry
	credentials []login
	losses      []Loss
}

// A place is a line of an imported file.
type place struct {
	file string
	line int
}

// A route is a mirror of the new map.
type route struct {
	place
	source  string
	targets []target
	header  map[string][]string // sent to all targets
	notes   []string            // comments above it
}

// A target is a registry as the map writes it.
type target struct {
	name     string // as the map writes it
	host     string // host[:port]
	prefix   string // repository prefix, "" if the name has none
	self     bool   // the source itself
	settings settings
}

// settings are those of a [registry] table.
type settings struct {
	ca           []string
	client       [][2]string
	skipVerify   bool
	dialTimeout  time.Duration
	capabilities []string
	header       map[string][]string // without those that may be secret
}

func (s settings) none() bool { return reflect.DeepEqual(s, settings{}) }

// A registry is a [registry] table of the new map.
type registry struct {
	place
	host string
	key  string // host, or host/prefix
	settings
	credential string
}

// A login is a [credential] table of the new map.
type login struct {
	name, kind string
	path       string // of its file
}

func (d *draft) lose(at place, format string, args ...any) {
	d.losses = append(d.losses, Loss{at.file, at.line, fmt.Sprintf(format, args...)})
}

// route adds a mirror, and its registries with it.
func (d *draft) route(r route) {
	if len(r.targets) == 0 {
		return
	}
	if i := slices.IndexFunc(d.mirrors, func(other route) bool { return other.source == r.source }); i >= 0 {
		first := d.mirrors[i]
		if !sameTargets(first.targets, r.targets) {
			d.lose(r.place, "%q is left out here: %s:%d already says where its images come from", r.source, first.file, first.line)
		}
		return
	}
	if !r.itself() {
		r.liftHeader()
	}
	for _, t := range r.targets {
		d.settings(r.place, t)
	}
	d.mirrors = append(d.mirrors, r)
}

// itself reports whether a source is served only by itself.
func (r route) itself() bool { return len(r.targets) == 1 && r.targets[0].self }

// liftHeader moves a header that all targets have to the mirror, since another
// mirror on the same registry may have a different one.
func (r *route) liftHeader() {
	first := r.targets[0].settings.header
	if first == nil || slices.ContainsFunc(r.targets, func(t target) bool { return !reflect.DeepEqual(t.settings.header, first) }) {
		return
	}
	r.header = first
	for i := range r.targets {
		r.targets[i].settings.header = nil
	}
}

func sameTargets(a, b []target) bool {
	return slices.EqualFunc(a, b, func(a, b target) bool { return a.name == b.name && a.self == b.self })
}

// settings adds the settings of a target's registry: a map has them once for
// each registry or repository prefix.
func (d *draft) settings(at place, t target) {
	if t.host == "*" {
		if !t.settings.none() {
			d.lose(at, "settings for every registry are left out: a map has them for each registry by name; write a [registry.\"host\"] for each that needs them")
		}
		return
	}
	key := t.host
	if t.prefix != "" {
		key += "/" + t.prefix
	}
	for _, r := range d.registries {
		if r.key == key {
			if !reflect.DeepEqual(r.settings, t.settings) {
				d.lose(at, "other settings for %s than at %s:%d are left out; a map has one [registry.%s] for all mirrors", key, r.file, r.line, quote(key))
			}
			return
		}
	}
	d.registries = append(d.registries, registry{place: at, host: t.host, key: key, settings: t.settings})
}

// onHost changes the settings of a registry for all repositories.
func (d *draft) onHost(at place, host string, change func(r *registry)) {
	if !slices.ContainsFunc(d.registries, func(r registry) bool { return r.key == host }) {
		d.registries = append(d.registries, registry{place: at, host: host, key: host})
	}
	for i := range d.registries {
		if r := &d.registries[i]; r.host == host {
			change(r)
		}
	}
}

// tables returns the [registry] tables to write: one for a host if all of its
// prefixes agree, and no empty one.
func (d *draft) tables() []registry {
	var list []registry
	for i, r := range d.registries {
		same := func(other registry) bool {
			return other.host != r.host || reflect.DeepEqual(other.settings, r.settings) && other.credential == r.credential
		}
		uniform := !slices.ContainsFunc(d.registries, func(other registry) bool { return !same(other) })
		first := slices.IndexFunc(d.registries, func(other registry) bool { return other.host == r.host }) == i
		switch {
		case uniform && (!first || r.says() == ""):
		case uniform:
			r.key = r.host
			list = append(list, r)
		case r.says() != "" || r.key != r.host:
			// An empty table shields it from the settings of a shorter key.
			list = append(list, r)
		}
	}
	return list
}

// result checks each part of the map by the map's own parser and writes it.
func (d *draft) result() (Result, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Imported from %s by \"mirrorcred import\".\n", oneLine(d.from))
	b.WriteString("# Review it, then run: mirrorcred apply -n\nversion = 1\n")

	credentials := d.writeCredentials()
	var registries strings.Builder
	for _, r := range d.tables() {
		text := r.text()
		if err := parses(text + credentials); err != nil {
			d.lose(r.place, "the settings of %s are left out: %s", r.key, err)
			text = commented(text)
		}
		registries.WriteString(text)
	}
	// A source that is served by itself needs a mirror only to exempt it from the
	// one of all others.
	others := slices.ContainsFunc(d.mirrors, func(r route) bool { return r.source == "*" && !r.itself() })
	for _, r := range d.mirrors {
		if r.itself() && !others {
			continue
		}
		b.WriteString(d.mirror(r, registries.String()+credentials))
	}
	b.WriteString(registries.String())
	b.WriteString(credentials)
	slices.SortStableFunc(d.losses, func(a, b Loss) int { return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line)) })
	data := []byte(b.String())
	if _, err := mirror.Parse("the imported map", data); err != nil {
		return Result{}, err
	}
	return Result{data, d.losses}, nil
}

// mirror returns the text of a mirror that the parser accepts together with the
// rest of the map; if need be without the fallback to the source, or as a
// comment.
func (d *draft) mirror(r route, rest string) string {
	text := r.text(false)
	err := parses(text + rest)
	if err == nil {
		return text
	}
	if shared := r.text(true); parses(shared+rest) == nil {
		if d.options.Share {
			return shared
		}
		if i := slices.IndexFunc(r.targets, func(t target) bool { return t.self }); i >= 0 && len(r.targets) > 1 {
			closed := r
			closed.targets = slices.Delete(slices.Clone(r.targets), i, i+1)
			if text := closed.text(false); parses(text+rest) == nil {
				d.lose(r.place, "%q as a fallback is left out: containerd would offer it the mirror's credential; if it may have it, import with --share", r.source)
				return text
			}
		}
		d.lose(r.place, "the mirror of %q is left out: containerd offers the credential of one of its targets to all of them; if they may have it, import with --share", r.source)
		return commented(shared)
	}
	d.lose(r.place, "the mirror of %q is left out: %s", r.source, err)
	return commented(text)
}

// parses returns the faults of a part of a map, without their places.
func parses(text string) error {
	_, err := mirror.Parse("", []byte("version = 1\n"+text))
	if err == nil {
		return nil
	}
	var texts []string
	for _, one := range all(err) {
		var fault *mirror.Fault
		if errors.As(one, &fault) {
			if !slices.Contains(texts, fault.Text) {
				texts = append(texts, fault.Text)
			}
			continue
		}
		texts = append(texts, one.Error())
	}
	return errors.New(strings.Join(texts, "; and "))
}

func all(err error) []error {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		return many.Unwrap()
	}
	return []error{err}
}
