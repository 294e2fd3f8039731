package config

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// A writer writes a table as TOML in one of the many ways that mean the same.
type writer struct {
	rnd *rand.Rand
	b   strings.Builder
	eol string
}

// render writes a table in the style that the seed selects.
func render(table map[string]any, style uint64) string {
	w := &writer{rnd: rand.New(rand.NewPCG(style, 1)), eol: "\n"}
	if style == 0 {
		w.rnd = nil
	}
	if w.chance(20) {
		w.eol = "\r\n"
	}
	if w.chance(4) {
		w.line("# written for a test")
	}
	w.table(nil, table)
	return w.b.String()
}

// chance is true once in n times, and never in the plain style.
func (w *writer) chance(n int) bool { return w.rnd != nil && w.rnd.IntN(n) == 0 }

func (w *writer) line(s string) { w.b.WriteString(s + w.eol) }

// keys returns a table's keys, in the plain style by name.
func (w *writer) keys(t map[string]any) []string {
	keys := slices.Sorted(maps.Keys(t))
	if w.rnd != nil {
		w.rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	}
	return keys
}

// table writes the values of a table first, then the tables in it, each with a
// header, by dotted keys, or inline.
func (w *writer) table(path []string, t map[string]any) {
	var headers []string
	for _, k := range w.keys(t) {
		sub, ok := t[k].(map[string]any)
		switch {
		case !ok:
			w.pair([]string{k}, t[k])
		case w.chance(12):
			w.pair([]string{k}, sub)
		case w.chance(12) && len(sub) > 0:
			w.dotted([]string{k}, sub)
		default:
			headers = append(headers, k)
		}
	}
	for _, k := range headers {
		sub, here := t[k].(map[string]any), append(slices.Clone(path), k)
		if len(sub) == 0 || hasValues(sub) || w.chance(6) {
			if w.chance(2) {
				w.line("")
			}
			w.line(w.indent(path) + "[" + w.key(here) + "]")
			w.table(here, sub)
			continue
		}
		w.onlyTables(here, sub)
	}
}

// onlyTables writes a table that holds nothing but tables, without a header of
// its own.
func (w *writer) onlyTables(path []string, t map[string]any) {
	for _, k := range w.keys(t) {
		sub, here := t[k].(map[string]any), append(slices.Clone(path), k)
		if len(sub) > 0 && !hasValues(sub) {
			w.onlyTables(here, sub)
			continue
		}
		w.line("")
		w.line(w.indent(path) + "[" + w.key(here) + "]")
		w.table(here, sub)
	}
}

func hasValues(t map[string]any) bool {
	for _, v := range t {
		if _, ok := v.(map[string]any); !ok {
			return true
		}
	}
	return false
}

// dotted writes a table's values as keys with dots.
func (w *writer) dotted(path []string, t map[string]any) {
	for _, k := range w.keys(t) {
		here := append(slices.Clone(path), k)
		if sub, ok := t[k].(map[string]any); ok && len(sub) > 0 {
			w.dotted(here, sub)
			continue
		}
		w.pair(here, t[k])
	}
}

func (w *writer) pair(path []string, v any) {
	equals := " = "
	if w.chance(8) {
		equals = "="
	}
	line := w.key(path) + equals + w.value(v)
	if w.chance(15) {
		line += " # said here"
	}
	w.line(line)
}

func (w *writer) indent(path []string) string {
	if w.chance(3) {
		return strings.Repeat("  ", len(path))
	}
	return ""
}

func (w *writer) key(path []string) string {
	parts := make([]string, len(path))
	for i, k := range path {
		bare := k != "" && strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
		switch {
		case bare && !w.chance(12):
			parts[i] = k
		case w.chance(2) && !strings.ContainsAny(k, "'\n"):
			parts[i] = "'" + k + "'"
		default:
			parts[i] = strconv.Quote(k)
		}
	}
	return strings.Join(parts, ".")
}

func (w *writer) value(v any) string {
	switch v := v.(type) {
	case string:
		switch {
		case w.chance(3) && !strings.ContainsAny(v, "'\n"):
			return "'" + v + "'"
		case w.chance(25):
			return `"""` + v + `"""`
		}
		return strconv.Quote(v)
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = w.value(e)
		}
		if w.chance(4) && len(v) > 0 {
			return "[" + w.eol + "  " + strings.Join(parts, ","+w.eol+"  ") + "," + w.eol + "]"
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		var parts []string
		for _, k := range w.keys(v) {
			parts = append(parts, w.key([]string{k})+" = "+w.inline(v[k]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// inline is a value inside of an inline table, which is on one line.
func (w *writer) inline(v any) string {
	plain := &writer{eol: "\n"}
	return plain.value(v)
}
