package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// settings are the keys of the root table and of a host table. Keys that
// containerd does not know it ignores, and so does this.
type settings struct {
	Capabilities []string       `toml:"capabilities"`
	CA           any            `toml:"ca"`
	Client       any            `toml:"client"`
	SkipVerify   *bool          `toml:"skip_verify"`
	Header       map[string]any `toml:"header"`
	OverridePath bool           `toml:"override_path"`
	DialTimeout  any            `toml:"dial_timeout"` // of any type: older containerds ignore the key
}

// A document is hosts.toml as TOML.
type document struct {
	settings
	Server string              `toml:"server"`
	Hosts  map[string]settings `toml:"host"`
}

// A file is a hosts.toml with the order of its tables, which TOML does not
// keep.
type file struct {
	document
	version Version
	data    []byte
	order   []string       // keys of Hosts, in the order that containerd tries them
	offsets map[string]int // of the keys, by their path
}

// decode reads the tables of a file.
func decode(data []byte, v Version) (*file, error) {
	if v.Before(2, 0, 0) {
		data = bytes.TrimPrefix(data, []byte("\ufeff"))
	}
	f := &file{version: v, data: data, offsets: map[string]int{}}
	if err := toml.Unmarshal(data, &f.document); err != nil {
		return nil, f.decodeFault(err)
	}
	tables := f.walk()
	if v.Before(2, 0, 0) {
		return f, f.orderV1(tables)
	}
	// As getSortedHosts does it: a table is known by its header alone, and
	// counts again unless it is that of the table before.
	last := ""
	for _, t := range tables {
		if t.header && t.host != last {
			last = t.host
			f.order = append(f.order, t.host)
		}
	}
	return f, nil
}

// A mention is a place in the file that configures a host.
type mention struct {
	host   string
	header bool // as [host."x"] or [host."x".sub]
	inline bool // as "x" = { … }
}

// orderV1 orders the hosts as 1.7 does: by the line on which each first appears.
// An inline table has no line, so 1.7 orders those at random; here they keep the
// order of the file.
func (f *file) orderV1(all []mention) error {
	var first []mention
	for _, m := range all {
		if m.header && hasBracket(m.host) {
			return f.fault([]string{"host", m.host}, "[host.%q] has a bracket in quotes, with which containerd %s refuses the file; make it the server", m.host, f.version)
		}
		if !slices.ContainsFunc(first, func(other mention) bool { return other.host == m.host }) {
			first = append(first, m)
		}
	}
	for _, inline := range []bool{true, false} {
		for _, m := range first {
			if m.inline == inline {
				f.order = append(f.order, m.host)
			}
		}
	}
	if _, ok := f.offsets["host"]; !ok && needsHost(f.version) {
		return f.fault(nil, "there is no host table, and containerd %s up to 1.7.31 requires one; add a line [host]", f.version)
	}
	return nil
}

// hasBracket reports whether a host table's name is one that go-toml v1 cannot
// read: there a bracket ends the header of a table, in quotes or not (v1.9.5,
// lexer.go, lexInsideTableKey).
func hasBracket(name string) bool { return strings.ContainsAny(name, "[]") }

// walk notes where the keys are and returns the mentions of hosts.
func (f *file) walk() []mention {
	var (
		p     unstable.Parser
		table []string
		all   []mention
	)
	p.Reset(f.data)
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = f.keys(e, nil)
			if len(table) > 1 && table[0] == "host" {
				all = append(all, mention{host: table[1], header: true})
			}
		case unstable.ArrayTable:
			table = f.keys(e, nil)
		case unstable.KeyValue:
			all = f.keyValue(all, e, table, false)
		}
	}
	return all
}

// keyValue notes the keys of a key/value in a table, which may be inline, and
// of the inline tables in it.
func (f *file) keyValue(all []mention, e *unstable.Node, table []string, inline bool) []mention {
	key, value := f.keys(e, table), e.Value()
	isTable := value.Kind == unstable.InlineTable
	if len(key) > 1 && key[0] == "host" {
		all = append(all, mention{host: key[1], inline: inline || isTable && len(key) == 2})
	}
	if isTable {
		for it := value.Children(); it.Next(); {
			all = f.keyValue(all, it.Node(), key, true)
		}
	}
	return all
}

// keys returns the path of an expression's key below table, and notes where it
// is.
func (f *file) keys(e *unstable.Node, table []string) []string {
	path := slices.Clone(table)
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		if _, ok := f.offsets[join(path)]; !ok {
			f.offsets[join(path)] = int(it.Node().Raw.Offset)
		}
	}
	return path
}

func join(path []string) string { return strings.Join(path, "\x00") }

// fault returns a fault at the line of a key, or of the table that it belongs in
// if the key is missing.
func (f *file) fault(at []string, format string, args ...any) error {
	line := 0
	for len(at) > 0 && line == 0 {
		if offset, ok := f.offsets[join(at)]; ok {
			line = 1 + bytes.Count(f.data[:offset], []byte("\n"))
		}
		at = at[:len(at)-1]
	}
	return &mirror.Fault{File: FileName, Line: line, Text: fmt.Sprintf(format, args...)}
}

// decodeFault explains an error of the decoder: the file is not TOML, or a value
// has the wrong type.
func (f *file) decodeFault(err error) error {
	fault := &mirror.Fault{File: FileName, Text: "not TOML: " + strings.TrimPrefix(err.Error(), "toml: ")}
	var at *toml.DecodeError
	if !errors.As(err, &at) {
		return fault
	}
	fault.Line, _ = at.Position()
	switch {
	case bytes.HasPrefix(f.data, []byte("\ufeff")):
		fault.Text = "the file begins with a byte order mark, with which containerd 2 refuses it; save it as UTF-8 without one"
	case toml.Unmarshal(f.data, &map[string]any{}) == nil:
		fault.Text = "a value does not have the type that containerd expects"
		if key := at.Key(); len(key) > 0 && wants[key[len(key)-1]] != "" {
			last := key[len(key)-1]
			fault.Text = last + " " + wantsError(last).Error()
		}
	}
	return fault
}
