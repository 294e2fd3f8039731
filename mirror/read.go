package mirror

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// A reader takes typed values out of a table and remembers which keys it was
// asked for, so that it can refuse the others. Its methods report what is
// wrong and then return the zero value.
type reader struct {
	*faults
	*table
	what    string // the table, as a person would name it
	known   []string
	missing []missing
	meant   []string // the known keys that unknown ones most likely stand for

	few [8]string // what known begins with, so that it needs no memory of its own
}

// A missing key is reported by [reader.rest], unless an unknown key is a
// misspelling of it.
type missing struct{ key, fault string }

func (f *faults) reader(t *table, what string) *reader {
	r := &reader{faults: f, table: t, what: what}
	r.known = r.few[:0]
	return r
}

// get returns the value of key, nil if there is none.
func (r *reader) get(key string) *value {
	r.known = append(r.known, key)
	if r.asked != nil {
		r.asked(r.what, key)
	}
	return r.find(key)
}

// at returns the line of key, or of the table if the key is not there.
func (r *reader) at(key string) int {
	if v := r.find(key); v != nil {
		return v.line
	}
	return r.line
}

// lines returns the lines of the keys that are there.
func (r *reader) lines() map[string]int {
	lines := make(map[string]int, len(r.keys))
	for i, key := range r.keys {
		lines[key] = r.table.list[i].line
	}
	return lines
}

// kindNames are the TOML types as messages name them.
var kindNames = map[unstable.Kind]string{
	unstable.String: "a string", unstable.Bool: "true or false", unstable.Integer: "a number", unstable.Float: "a number",
	unstable.Array: "a list", unstable.InlineTable: "a table",
}

// want reports whether v is of the kind, and adds a fault if it is not.
func (r *reader) want(key string, v *value, kind unstable.Kind) bool {
	if v.kind == kind {
		return true
	}
	write := kindNames[kind]
	text := v.text
	if !isQuotable(key) || !isHarmless(text) {
		text = "…"
	}
	switch {
	case kind == unstable.Array && v.kind == unstable.String:
		write = fmt.Sprintf("%s = [%q]", key, text)
	case kind == unstable.String && (v.kind == unstable.Integer || v.kind == unstable.Float) && isBareKey(key):
		write = fmt.Sprintf("%s = %q", key, text)
	}
	r.add(v.line, "%s of %s is %s; write %s", key, r.what, v.what(), write)
	return false
}

// what returns which kind of value it is, as messages name it.
func (v *value) what() string {
	if name, ok := kindNames[v.kind]; ok {
		return name
	}
	return "a date or a time"
}

func (r *reader) text(key string) string {
	v := r.get(key)
	if v == nil || !r.want(key, v, unstable.String) {
		return ""
	}
	if v.text == "" {
		r.add(v.line, "%s of %s is empty; give it a value, or remove the key", key, r.what)
	}
	return v.text
}

func (r *reader) flag(key string) bool {
	v := r.get(key)
	return v != nil && r.want(key, v, unstable.Bool) && v.text == "true"
}

// path returns an absolute path, or or if key is not there.
func (r *reader) path(key, or string) string {
	s := r.text(key)
	if s == "" {
		return or
	}
	if !path.IsAbs(s) {
		r.add(r.at(key), "%s of %s: %q is not an absolute path; begin it with \"/\"", key, r.what, s)
	}
	return path.Clean(s)
}

// texts returns the strings of a list or, if alone is true, of a single string.
// They are never empty strings.
func (r *reader) texts(key string, alone bool) []*value {
	v := r.get(key)
	if v == nil {
		return nil
	}
	if alone && v.kind == unstable.String {
		v = &value{line: v.line, kind: unstable.Array, list: []*value{v}}
	}
	if !r.want(key, v, unstable.Array) {
		return nil
	}
	if !slices.ContainsFunc(v.list, func(e *value) bool { return e.kind != unstable.String || e.text == "" }) {
		return v.list // nearly always
	}
	return slices.DeleteFunc(slices.Clone(v.list), func(e *value) bool {
		if !r.want("an entry in "+key, e, unstable.String) {
			return true
		}
		if e.text == "" {
			r.add(e.line, "%s of %s has an empty entry; remove it", key, r.what)
		}
		return e.text == ""
	})
}

func texts(values []*value) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.text)
	}
	return out
}

// sub returns the table below key, nil if there is none.
func (r *reader) sub(key string) *table {
	v := r.get(key)
	if v == nil || !r.want(key, v, unstable.InlineTable) {
		return nil
	}
	return v.table
}

// need notes the fault of a key that must be there and is not.
func (r *reader) need(key, format string, args ...any) {
	r.missing = append(r.missing, missing{key, fmt.Sprintf(format, redact(args)...)})
}

// meanings are keys of other programs, and what a map calls them.
var meanings = map[string]string{
	"endpoint": "targets", "endpoints": "targets", "target": "targets", "upstream": "targets", "registry": "source",
	"host": "source", "ca_file": "ca", "insecure_skip_verify": "skip_verify", "headers": "header",
}

// hasUnknown reports whether there is a key that was not asked for.
func (r *reader) hasUnknown() bool {
	return slices.ContainsFunc(r.keys, func(key string) bool { return !slices.Contains(r.known, key) })
}

// rest refuses the keys that were not asked for, and reports those that are
// missing. hints are for keys that people know from other programs.
func (r *reader) rest(hints map[string]string) {
	for _, key := range r.keys {
		if slices.Contains(r.known, key) {
			continue
		}
		line := r.at(key)
		if hint := hints[key]; hint != "" {
			r.add(line, "unknown key %q in %s; %s", key, r.what, hint)
		} else if near := r.meaning(key); near != "" {
			r.meant = append(r.meant, near)
			r.add(line, "unknown key %q in %s; did you mean %q?", key, r.what, near)
		} else if len(r.known) == 1 {
			r.meant = r.known
			r.add(line, "unknown key %q in %s; the only key is %q", key, r.what, r.known[0])
		} else {
			r.add(line, "unknown key %q in %s; the keys are %s", key, r.what, strings.Join(r.known, ", "))
		}
	}
	for _, m := range r.missing {
		if !slices.Contains(r.meant, m.key) {
			r.add(r.at(m.key), "%s", m.fault)
		}
	}
}

// meaning returns the known key that an unknown one most likely stands for, or "".
func (r *reader) meaning(key string) string {
	meant := meanings[key]
	if !slices.Contains(r.known, meant) {
		meant = nearest(key, r.known)
	}
	return meant
}

// nearest returns the name that key is most likely meant to be, or "": one that
// differs in two letters at most, or else one that it is a part of.
func nearest(key string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(key, name); d < least {
			best, least = name, d
		}
	}
	if best != "" || len(key) < 4 {
		return best
	}
	for _, name := range names {
		if strings.Contains(name, key) {
			return name
		}
	}
	return ""
}

// distance is the number of letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
