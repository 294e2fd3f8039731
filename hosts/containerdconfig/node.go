package containerdconfig

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// A node is a value of a configuration with the place it comes from, so that
// after any merge it is known who set it.
type node struct {
	at    Position
	table map[string]*node // nil if the value is not a table
	value any
}

// newNode makes nodes of a decoded value. where returns the line of a key path.
func newNode(v any, file string, key []string, where lines) *node {
	n := &node{at: Position{File: file, Line: where(key...), Table: tableName(key)}}
	table, ok := v.(map[string]any)
	if !ok {
		n.value = v
		n.at.Table = tableName(key[:len(key)-1])
		return n
	}
	n.table = make(map[string]*node, len(table))
	for name, v := range table {
		n.table[name] = newNode(v, file, append(slices.Clone(key), name), where)
	}
	return n
}

// get returns the node at a path of keys as they are spelled, or nil.
func (n *node) get(key ...string) *node {
	for _, k := range key {
		if n == nil {
			return nil
		}
		n = n.table[k]
	}
	return n
}

// any returns the nodes at a path of lower-case keys, however they are spelled,
// in the order in which go-toml decodes them, where a later one overrides.
func (n *node) any(key ...string) []*node {
	if n == nil || len(key) == 0 {
		return slices.DeleteFunc([]*node{n}, func(n *node) bool { return n == nil })
	}
	var found []*node
	for _, name := range slices.Sorted(maps.Keys(n.table)) {
		if strings.ToLower(name) == key[0] {
			found = append(found, n.table[name].any(key[1:]...)...)
		}
	}
	return found
}

// plain returns the value without its places.
func (n *node) plain() any {
	if n.table == nil {
		return n.value
	}
	table := make(map[string]any, len(n.table))
	for name, n := range n.table {
		table[name] = n.plain()
	}
	return table
}

func (n *node) clone() *node {
	c := *n
	if n.table != nil {
		c.table = cloneTable(n.table)
	}
	return &c
}

func cloneTable(t map[string]*node) map[string]*node {
	c := make(map[string]*node, len(t))
	for name, n := range t {
		c[name] = n.clone()
	}
	return c
}

// merge puts src over dst key by key. A value replaces what was there, an empty
// one too; an empty table over a table changes nothing. containerd merges with
// dario.cat/mergo, which panics over a local date or time that is merged with
// another kind of value; merge returns the first such node.
func merge(dst, src map[string]*node) (panics *node) {
	for _, name := range slices.Sorted(maps.Keys(src)) {
		d, s := dst[name], src[name]
		if d != nil && d.table != nil && s.table != nil {
			if at := merge(d.table, s.table); panics == nil {
				panics = at
			}
			continue
		}
		if d != nil && panics == nil && isLocalTime(d.value) && (s.table != nil || isLocalTime(s.value)) &&
			fmt.Sprintf("%T", d.value) != fmt.Sprintf("%T", s.value) {
			panics = s
		}
		dst[name] = s.clone()
	}
	return panics
}

func isLocalTime(v any) bool {
	switch v.(type) {
	case toml.LocalDate, toml.LocalTime, toml.LocalDateTime:
		return true
	}
	return false
}

// tableName writes a path of keys as a TOML header has it.
func tableName(key []string) string {
	var b strings.Builder
	for i, k := range key {
		if i > 0 {
			b.WriteByte('.')
		}
		if k == "" || strings.Trim(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			k = fmt.Sprintf("%q", k)
		}
		b.WriteString(k)
	}
	return b.String()
}
