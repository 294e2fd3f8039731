package mirror

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// An Allowed is the part of a node's map that the node itself must confirm: a
// map that came from the cluster may have these keys only as they are here. It
// has the map's own syntax, so an operator copies the tables from the map.
type Allowed struct {
	file   string
	values map[string]*value // by their places
}

// ParseAllowed reads a node's own list. The error joins all faults.
func ParseAllowed(file string, data []byte) (*Allowed, error) {
	root, err := parseDocument(file, data)
	if err != nil {
		return nil, err
	}
	p := parser{faults: faults{file: file}}
	p.version(p.reader(root, "the list"))
	a := &Allowed{file: file, values: map[string]*value{}}
	eachKey(root, func(k key, v *value) {
		switch rule, known := rules[k.pattern]; {
		case !known:
			p.add(v.line, "unknown key %q in %s; write tables of the map here, as docs/map.md has them", k.name, k.table())
		case rule.need != nothing || k.pattern == "mirror.targets":
			a.values[k.place()] = v
		}
	})
	if err := p.err(); err != nil {
		return nil, err
	}
	return a, nil
}

// ParseDelivered is [Parse] for a map from the cluster. Its author must not run programs
// or read secrets on the nodes, so a key that would do that is a fault unless list, the
// node's own, has it. A nil list means that the list is not known here, and allows all.
func ParseDelivered(file string, data []byte, list *Allowed) (*Map, error) {
	return parser{allowed: list, delivered: true}.parse(file, data)
}

// NothingAllowed returns the list of a node that has no file for it. file is
// where it would be.
func NothingAllowed(file string) *Allowed { return &Allowed{file: file} }

// find returns the list's value at a place, nil if there is none.
func (a *Allowed) find(place string) *value { return a.values[place] }

// A key is a key of a document with the way to it.
type key struct {
	name    string
	path    []string // to the key, names of tables included
	pattern string   // the same with "*" for names that the operator chooses
	mirror  *table   // that it is in, nil for none
}

// table names the table that the key is in, as a person would.
func (k key) table() string {
	switch {
	case len(k.path) == 1:
		return "the map"
	case k.path[0] == "mirror":
		return fmt.Sprintf("the mirror of %q", k.path[1])
	case k.path[0] == "registry" && len(k.path) > 2:
		return fmt.Sprintf("[registry.%q]", k.path[1])
	case len(k.path) > 2:
		return "[" + strings.Join(k.path[:2], ".") + "]"
	}
	return "[" + k.path[0] + "]"
}

// shown is the key as a person would write it below its table.
func (k key) shown() string {
	if k.path[0] == "mirror" || strings.Contains(k.pattern, "*") {
		return strings.Join(k.path[2:], ".")
	}
	return strings.Join(k.path[1:], ".")
}

// place is equal for keys that mean the same, however they are spelt.
func (k key) place() string { return k.placeAt(k.path[1:]...) }

func (k key) placeAt(names ...string) string {
	names = slices.Clone(names)
	switch k.path[0] {
	case "registry":
		if r, err := parseRegistry(names[0]); err == nil {
			names[0] = r.key()
		}
	case "mirror":
		if s, err := ParseSource(names[0]); err == nil {
			names[0] = s.name
		}
	}
	if len(names) > 2 && names[1] == "header" {
		names[2] = textproto.CanonicalMIMEHeaderKey(names[2])
	}
	return k.path[0] + "\x00" + strings.Join(names, "\x00")
}

// named are the tables whose names, or keys, the operator chooses.
var named = map[string]bool{"credential": true, "registry": true, "credential.*.env": true, "registry.*.header": true, "mirror.header": true}

// eachKey calls do for each key of a document that is not a table, in the order of
// the document. The path to a key of a mirror has its source.
func eachKey(root *table, do func(key, *value)) {
	var below func(t, mirror *table, path []string, pattern string)
	below = func(t, mirror *table, path []string, pattern string) {
		for i, name := range t.keys {
			v := t.list[i]
			step := name
			if named[pattern] {
				step = "*"
			}
			at := strings.TrimPrefix(pattern+"."+step, ".")
			way := append(slices.Clone(path), name)
			switch {
			case v.table != nil:
				below(v.table, mirror, way, at)
			case at == "mirror":
				for _, e := range v.list {
					if e.table != nil {
						below(e.table, e.table, append(slices.Clone(way), sourceOf(e.table)), at)
					}
				}
			default:
				do(key{name, way, at, mirror}, v)
			}
		}
	}
	below(root, nil, nil, "")
}

func sourceOf(mirror *table) string {
	if v := mirror.find("source"); v != nil {
		return v.text
	}
	return ""
}

// entries returns what a value has in it, each as a string that is equal for
// equal entries.
func entries(v *value) []string {
	if v.kind != unstable.Array {
		return []string{entry(v)}
	}
	list := make([]string, len(v.list))
	for i, e := range v.list {
		list[i] = entry(e)
	}
	return list
}

func entry(v *value) string {
	switch {
	case v.kind == unstable.Array && len(v.list) == 1:
		return entry(v.list[0]) // a client certificate with its key in one file
	case v.kind == unstable.Array:
		return "[" + strings.Join(entries(v), "\x00") + "]"
	}
	return v.text
}
