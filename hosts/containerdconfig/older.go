package containerdconfig

import (
	"bytes"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// The TOML library of containerd before 2.4 (go-toml 2.2.3 to 2.3.0) makes
// something else of a few tables than the one of today:
//
//   - It takes no notice of an empty table if a string, number or bool is
//     read, or a list that is there already.
//   - plugins may be spelled in two ways in one file: two keys for TOML, which
//     checks none against the other, and one for containerd. If there is a
//     table under one and none under the other, it gives up, or keeps the value
//     if the table is empty. The one of today takes what comes last.

// A shape is what is at a path of keys.
type shape int

const (
	nothing shape = iota
	aValue
	aList // of tables, as a value
	aTable
	aTableList // written with [[ ]]
)

// An olderReader goes through a file as the older library does.
type olderReader struct {
	plugins map[string]shape // below plugins, by path
	lists   map[string]bool  // the lists outside of plugins that are not empty
	blank   []int            // where the headers begin that are not noticed
}

// older returns a file, which must be TOML, without the headers that the older
// library does not notice. at is the line at which it gives up, or 0.
func older(data []byte, where lines) (text []byte, at int) {
	r := olderReader{map[string]shape{}, map[string]bool{}, nil}
	var p unstable.Parser
	p.Reset(data)
	var table []string
	unnoticed := -1 // where the last header begins, if it is not
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind == unstable.KeyValue {
			unnoticed = -1
			if !r.pair(keyOf(e, table), len(table), e.Value()) {
				return data, where(keyOf(e, table)...)
			}
			continue
		}
		if unnoticed >= 0 {
			r.blank = append(r.blank, unnoticed)
		}
		var isNoticed, ok bool
		if table = keyOf(e, nil); len(table) == 0 {
			continue
		}
		if isNoticed, ok = r.header(slices.Clone(table), e.Kind); !ok {
			return data, where(table...)
		}
		if unnoticed = -1; !isNoticed {
			it := e.Key()
			it.Next()
			unnoticed = int(it.Node().Raw.Offset)
		}
	}
	if unnoticed >= 0 {
		r.blank = append(r.blank, unnoticed)
	}
	return withBlankLines(data, r.blank), 0
}

func withBlankLines(data []byte, at []int) []byte {
	if len(at) == 0 {
		return data
	}
	data = slices.Clone(data)
	for _, offset := range at {
		for i := bytes.LastIndexByte(data[:offset], '\n') + 1; i < len(data) && data[i] != '\n'; i++ {
			data[i] = ' '
		}
	}
	return data
}

// keyOf returns the key of a header or a pair after that of a table.
func keyOf(n *unstable.Node, table []string) []string {
	path := slices.Clone(table)
	for it := n.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
	}
	return path
}

// header takes a header. It is not noticed if nothing follows below it, and not
// ok if the library gives up.
func (r *olderReader) header(path []string, kind unstable.Kind) (isNoticed, ok bool) {
	if path[0] = strings.ToLower(path[0]); path[0] != "plugins" {
		return kind != unstable.Table || !r.isUnnoticed(lower(path)), true
	}
	for n := range len(path) - 1 {
		if r.plugins[join(path[:n+1])] == aValue {
			return true, false
		}
	}
	here := r.plugins[join(path)]
	if kind == unstable.ArrayTable {
		if here != nothing && here != aTableList {
			return true, false
		}
		r.note(path, aTableList)
		return true, true
	}
	if here == nothing {
		r.note(path, aTable)
	}
	return here != aValue, true
}

// isUnnoticed reports whether the library takes no notice of an empty table
// outside of plugins.
func (r *olderReader) isUnnoticed(key []string) bool {
	switch {
	case len(key) == 1:
		isList := slices.Contains([]string{"imports", "disabled_plugins", "required_plugins"}, key[0])
		return !isList || r.lists[key[0]]
	case len(key) == 2:
		return slices.Contains([]string{"grpc", "ttrpc", "debug", "metrics", "cgroup"}, key[0])
	case len(key) == 3 && key[0] == "proxy_plugins":
		return slices.Contains([]string{"type", "address", "platform"}, key[2])
	}
	return false
}

// pair takes a key with its value below a header of so many keys, and reports
// whether the library goes on.
func (r *olderReader) pair(path []string, header int, v *unstable.Node) bool {
	path = slices.Clone(path)
	if path[0] = strings.ToLower(path[0]); path[0] != "plugins" {
		elements := v.Children()
		if v.Kind == unstable.Array && elements.Next() {
			r.lists[path[0]] = true
		}
		return true
	}
	if header > 0 && r.plugins[join(path[:header])] == aValue {
		return false
	}
	r.noteValue(path, v)
	return true
}

// note notes what is at a path, and the tables that lead there.
func (r *olderReader) note(path []string, s shape) {
	for n := range len(path) - 1 {
		if at := join(path[:n+1]); r.plugins[at] == nothing || r.plugins[at] == aValue {
			r.plugins[at] = aTable
		}
	}
	r.plugins[join(path)] = s
}

// noteValue notes a value and what is in it.
func (r *olderReader) noteValue(path []string, v *unstable.Node) {
	switch v.Kind {
	case unstable.InlineTable:
		r.note(path, aTable)
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.KeyValue {
				r.noteValue(keyOf(it.Node(), path), it.Node().Value())
			}
		}
	case unstable.Array:
		r.note(path, aValue)
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.InlineTable {
				r.note(path, aList)
			}
		}
	default:
		r.note(path, aValue)
	}
}
