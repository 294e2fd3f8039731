package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// A table is a TOML table that remembers the line of each value. go-toml gives
// positions for faults of syntax only, and a map's faults are mostly faults of
// meaning.
type table struct {
	line  int
	keys  []string       // in the order of the document
	list  []*value       // of the keys
	index map[string]int // of a key in keys; nil if they are few
	// extends says that other headers may pass through the table: a header
	// made it.
	extends bool

	// What keys and list begin with, so that they need no memory of their own.
	firstKeys   [2]string
	firstValues [2]*value
}

// fewKeys is how many keys a table has before it has an index. Most have two,
// and there may be thousands of those.
const fewKeys = 8

// A value is one TOML value.
type value struct {
	line  int
	kind  unstable.Kind
	text  string   // of a string, a number, a boolean
	list  []*value // of an array
	table *table   // of a table

	headed bool // an array that [[headers]] made
}

// newTable returns a table with room for the keys that most have.
func newTable(line int) *table {
	t := &table{line: line}
	t.keys, t.list = t.firstKeys[:0], t.firstValues[:0]
	return t
}

// find returns the value of key, nil if there is none.
func (t *table) find(key string) *value {
	i := t.position(key)
	if i < 0 {
		return nil
	}
	return t.list[i]
}

func (t *table) position(key string) int {
	if t.index == nil {
		return slices.Index(t.keys, key)
	}
	if i, ok := t.index[key]; ok {
		return i
	}
	return -1
}

func (t *table) set(key string, v *value) {
	if i := t.position(key); i >= 0 {
		t.list[i] = v
		return
	}
	t.keys, t.list = append(t.keys, key), append(t.list, v)
	switch {
	case t.index != nil:
		t.index[key] = len(t.keys) - 1
	case len(t.keys) > fewKeys:
		t.index = make(map[string]int)
		for i, key := range t.keys {
			t.index[key] = i
		}
	}
}

// parseDocument returns the document's root table, or a fault if data is not
// TOML. go-toml stops at the first fault of syntax, and so does Parse.
func parseDocument(file string, data []byte) (*table, error) {
	if line := tooDeep(data); line > 0 {
		return nil, &Fault{File: file, Line: line, Text: fmt.Sprintf("tables or lists are nested more than %d deep here; write the map's keys as docs/map.md has them", mostNesting)}
	}
	d := document{root: newTable(1), data: data, current: 1}
	if err := d.build(); err != nil || d.doubtful {
		if fault := judge(file, data); fault != nil {
			return nil, fault
		}
		if err != nil {
			return nil, syntaxFault(file, data, 0, oneLine(err))
		}
	}
	return d.root, nil
}

// judge returns a fault if data is not TOML. It takes as long as the rest of the
// parsing, so it is skipped for a document that is plainly valid.
func judge(file string, data []byte) error {
	err := toml.Unmarshal(data, &map[string]any{})
	if err == nil {
		return nil
	}
	line := 0
	if at := (*toml.DecodeError)(nil); errors.As(err, &at) {
		line, _ = at.Position()
	}
	return syntaxFault(file, data, line, oneLine(err))
}

func oneLine(err error) string {
	return strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), "toml: ")), " ")
}

// A document builds the tables of a TOML document. If the document is invalid,
// its tables must not be used.
type document struct {
	parser unstable.Parser
	data   []byte
	root   *table
	table  *table // of the last header
	// doubtful says that the document may be invalid although its syntax is
	// right: a key may be there twice, or a number be too large. The parser
	// alone checks neither.
	doubtful bool

	offset, current int // an offset in data and its line: the last one asked for

	spare []value // allocated and not used yet
}

// newValue returns a zero value. They are allocated many at a time.
func (d *document) newValue() *value {
	if len(d.spare) == 0 {
		d.spare = make([]value, 64)
	}
	v := &d.spare[0]
	d.spare = d.spare[1:]
	return v
}

// build reads the whole document, to the first fault of syntax.
func (d *document) build() error {
	d.table = d.root
	d.parser.Reset(d.data)
	for d.parser.NextExpression() {
		d.expression(d.parser.Expression())
	}
	return d.parser.Error()
}

// line returns the line of a range, or that of its surroundings if the
// parser gives none. It counts from the last one, since most are asked for in
// their order.
func (d *document) line(at unstable.Range, around int) int {
	if at.Length == 0 {
		return around
	}
	next := int(at.Offset)
	if next >= d.offset {
		d.current += bytes.Count(d.data[d.offset:next], []byte("\n"))
	} else {
		d.current -= bytes.Count(d.data[next:d.offset], []byte("\n"))
	}
	d.offset = next
	return d.current
}

func (d *document) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table, unstable.ArrayTable:
		d.table = d.header(e)
	case unstable.KeyValue:
		d.keyValue(d.table, e)
	}
}

// header opens the table of a header with one bracket or two.
func (d *document) header(e *unstable.Node) *table {
	t, line := d.root, 1
	for it := e.Key(); it.Next(); {
		key := keyOf(it.Node())
		line = d.line(it.Node().Raw, line)
		if it.IsLast() && e.Kind == unstable.ArrayTable {
			return d.element(t, key, line)
		}
		v := t.find(key)
		d.doubtful = d.doubtful || v != nil && (it.IsLast() || v.table == nil || !v.table.extends)
		t = t.sub(key, line)
		t.extends = true
	}
	return t
}

// keyOf returns a key, and does not copy the ones that are there thousands of times.
func keyOf(n *unstable.Node) string {
	for _, often := range [...]string{"mirror", "source", "targets"} {
		if string(n.Data) == often {
			return often
		}
	}
	return string(n.Data)
}

// element adds a table to the array of tables below key.
func (d *document) element(t *table, key string, line int) *table {
	v := t.find(key)
	if v == nil {
		v = &value{line: line, kind: unstable.Array, headed: true}
		t.set(key, v)
	}
	d.doubtful = d.doubtful || !v.headed
	element := d.newValue()
	element.line, element.kind, element.table = line, unstable.InlineTable, newTable(line)
	v.list = append(v.list, element)
	return element.table
}

// sub returns the table below key, made if there is none; below an array of
// tables it is the last one's.
func (t *table) sub(key string, line int) *table {
	v := t.find(key)
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
		key := keyOf(it.Node())
		line = d.line(it.Node().Raw, line)
		d.doubtful = d.doubtful || t.position(key) >= 0
		if !it.IsLast() {
			t = t.sub(key, line)
			continue
		}
		t.set(key, d.value(e.Value(), line))
	}
}

func (d *document) value(n *unstable.Node, around int) *value {
	v := d.newValue()
	v.line, v.kind = d.line(n.Raw, around), n.Kind
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
		d.doubtful = d.doubtful || !isPlain(v)
	}
	return v
}

// isPlain reports whether a scalar of valid syntax is certainly valid. A number
// may be too large, and a date may not exist.
func isPlain(v *value) bool {
	switch v.kind {
	case unstable.String, unstable.Bool:
		return true
	case unstable.Integer:
		return len(v.text) == 1 && '0' <= v.text[0] && v.text[0] <= '9'
	}
	return false
}
