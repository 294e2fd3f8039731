package mirror

import (
	"bytes"
	"errors"
	"sort"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A table is a TOML table whose values remember their lines. go-toml gives
// positions for faults of syntax only, and a map's faults are mostly faults of
// meaning.
type table struct {
	line   int
	keys   []string // in the order of the document
	values map[string]*value
}

// A value is one TOML value.
type value struct {
	line  int
	kind  unstable.Kind
	text  string   // of a string, a number, a boolean
	list  []*value // of an array
	table *table   // of a table
}

func newTable(line int) *table { return &table{line: line, values: map[string]*value{}} }

func (t *table) set(key string, v *value) {
	if _, ok := t.values[key]; !ok {
		t.keys = append(t.keys, key)
	}
	t.values[key] = v
}

// parseDocument returns the document's root table, or a fault where data is
// not TOML. go-toml stops at the first fault of syntax, and so do we.
func parseDocument(file string, data []byte) (*table, error) {
	if err := toml.Unmarshal(data, &map[string]any{}); err != nil {
		var at *toml.DecodeError
		if !errors.As(err, &at) {
			return nil, &Fault{File: file, Text: "not TOML: " + oneLine(err)}
		}
		line, _ := at.Position()
		return nil, &Fault{File: file, Line: line, Text: "not TOML: " + oneLine(at) + tabHint(data, line)}
	}
	d := document{root: newTable(1), breaks: lineBreaks(data)}
	d.current = d.root
	d.parser.Reset(data)
	for d.parser.NextExpression() {
		d.expression(d.parser.Expression())
	}
	if err := d.parser.Error(); err != nil {
		return nil, &Fault{File: file, Text: "not TOML: " + oneLine(err)}
	}
	return d.root, nil
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "toml: ")), " ")
}

// tabHint adds what to do where the fault's line has a tab in it, which looks
// like a space and is none inside a key or a quoted string.
func tabHint(data []byte, line int) string {
	lines := bytes.Split(data, []byte("\n"))
	if line < 1 || line > len(lines) || !bytes.ContainsRune(bytes.TrimLeft(lines[line-1], "\t"), '\t') {
		return ""
	}
	return "; there is a tab in this line, write a space instead"
}

// A document builds the tables of a TOML document that is known to be valid.
type document struct {
	parser  unstable.Parser
	root    *table
	current *table
	breaks  []int // offsets of the newlines
}

func lineBreaks(data []byte) []int {
	breaks := make([]int, 0, bytes.Count(data, []byte("\n")))
	for i, b := range data {
		if b == '\n' {
			breaks = append(breaks, i)
		}
	}
	return breaks
}

// line returns the line of a range, or that of its surroundings where the
// parser gives none.
func (d *document) line(at unstable.Range, around int) int {
	if at.Length == 0 {
		return around
	}
	return 1 + sort.SearchInts(d.breaks, int(at.Offset))
}

func (d *document) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		d.current = d.header(e)
	case unstable.KeyValue:
		d.keyValue(d.current, e)
	}
}

// header opens the table of a [header] or [[header]].
func (d *document) header(e *unstable.Node) *table {
	t, line := d.root, 1
	for it := e.Key(); it.Next(); {
		key := string(it.Node().Data)
		line = d.line(it.Node().Raw, line)
		if it.IsLast() && e.Kind == unstable.ArrayTable {
			v := t.values[key]
			if v == nil {
				v = &value{line: line, kind: unstable.Array}
				t.set(key, v)
			}
			element := &value{line: line, kind: unstable.InlineTable, table: newTable(line)}
			v.list = append(v.list, element)
			return element.table
		}
		t = t.sub(key, line)
	}
	return t
}

// sub returns the table below key, made where there is none; below an array of
// tables it is the last one's.
func (t *table) sub(key string, line int) *table {
	v := t.values[key]
	if v == nil {
		v = &value{line: line, kind: unstable.InlineTable, table: newTable(line)}
		t.set(key, v)
	}
	if v.kind == unstable.Array && len(v.list) > 0 {
		v = v.list[len(v.list)-1]
	}
	if v.table == nil { // not in a valid document
		v.table = newTable(line)
	}
	return v.table
}

func (d *document) keyValue(t *table, e *unstable.Node) {
	line := t.line
	for it := e.Key(); it.Next(); {
		key := string(it.Node().Data)
		line = d.line(it.Node().Raw, line)
		if !it.IsLast() {
			t = t.sub(key, line)
			continue
		}
		t.set(key, d.value(e.Value(), line))
	}
}

func (d *document) value(n *unstable.Node, around int) *value {
	v := &value{line: d.line(n.Raw, around), kind: n.Kind}
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			v.list = append(v.list, d.value(it.Node(), v.line))
		}
	case unstable.InlineTable:
		v.table = newTable(v.line)
		for it := n.Children(); it.Next(); {
			d.keyValue(v.table, it.Node())
		}
	default:
		v.text = string(n.Data)
	}
	return v
}
