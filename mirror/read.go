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
	what  string // the table, as a person would name it
	known []string
}

func (f *faults) reader(t *table, what string) *reader {
	return &reader{faults: f, table: t, what: what}
}

// get returns the value of key, nil where there is none.
func (r *reader) get(key string) *value {
	r.known = append(r.known, key)
	return r.find(key)
}

// at returns the line of key, or of the table where it is not there.
func (r *reader) at(key string) int {
	if v := r.find(key); v != nil {
		return v.line
	}
	return r.line
}

// kindNames are the TOML types as messages name them.
var kindNames = map[unstable.Kind]string{
	unstable.String: "a string", unstable.Bool: "true or false", unstable.Integer: "a number",
	unstable.Array: "a list", unstable.InlineTable: "a table",
}

// want reports whether v is of the kind, and adds a fault where it is not.
func (r *reader) want(key string, v *value, kind unstable.Kind) bool {
	if v.kind == kind {
		return true
	}
	is, ok := kindNames[v.kind]
	if !ok {
		is = "something else"
	}
	r.add(v.line, "%s of %s is %s; write %s", key, r.what, is, kindNames[kind])
	return false
}

func (r *reader) text(key string) string {
	v := r.get(key)
	if v == nil || !r.want(key, v, unstable.String) {
		return ""
	}
	if v.text == "" {
		r.add(v.line, "%s of %s is empty; leave the key out or give it a value", key, r.what)
	}
	return v.text
}

func (r *reader) flag(key string) bool {
	v := r.get(key)
	return v != nil && r.want(key, v, unstable.Bool) && v.text == "true"
}

// path returns an absolute path, or or where key is not there.
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

// texts returns the strings of a list, or of a string alone where alone is
// true. They are never empty strings.
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
	return slices.DeleteFunc(slices.Clone(v.list), func(e *value) bool {
		if !r.want("an entry in "+key, e, unstable.String) {
			return true
		}
		if e.text == "" {
			r.add(e.line, "%s of %s has an empty entry; take it out", key, r.what)
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

// sub returns the table below key, nil where there is none.
func (r *reader) sub(key string) *table {
	v := r.get(key)
	if v == nil || !r.want(key, v, unstable.InlineTable) {
		return nil
	}
	return v.table
}

// rest refuses the keys that nobody asked for. hints are for keys that people
// write who come from elsewhere.
func (r *reader) rest(hints map[string]string) {
	for _, key := range r.keys {
		if slices.Contains(r.known, key) {
			continue
		}
		line := r.at(key)
		if hint := hints[key]; hint != "" {
			r.add(line, "unknown key %q in %s; %s", key, r.what, hint)
		} else if near := nearest(key, r.known); near != "" {
			r.add(line, "unknown key %q in %s; write %q", key, r.what, near)
		} else {
			r.add(line, "unknown key %q in %s; the keys are %s", key, r.what, strings.Join(r.known, ", "))
		}
	}
}

// nearest returns the name that key is most likely meant to be, or "".
func nearest(key string, names []string) string {
	best, least := "", 3
	for _, name := range names {
		if d := distance(key, name); d < least {
			best, least = name, d
		}
	}
	return best
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

// quote returns s in quotes for a message, without what stands before an "@",
// which may be a password.
func quote(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		s = "…" + s[i:]
	}
	return fmt.Sprintf("%q", s)
}
