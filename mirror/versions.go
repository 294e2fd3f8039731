package mirror

import (
	"slices"
	"strings"
)

// Versions parses the versions of one map, one after the other. It reads only those
// mirror tables again that the last version did not have. The maps and the errors are
// those of [Parse], [ParseClosed] and [ParseDelivered]. The zero value has parsed nothing
// yet, and a nil *Versions remembers nothing. It is for one goroutine.
type Versions struct{ last []plainMirror }

// A plainMirror is a [[mirror]] table with a source and targets and nothing else, of a map
// without faults.
type plainMirror struct {
	text  string // the lines of the table, up to the next header
	lines int
	// mirror is what the table alone says: its targets have no settings yet.
	mirror Mirror
}

// Parse is [Parse].
func (v *Versions) Parse(file string, data []byte) (*Map, error) {
	return v.parse(parser{}, file, data)
}

// ParseClosed is [ParseClosed].
func (v *Versions) ParseClosed(file string, data []byte) (*Map, error) {
	return v.parse(parser{closed: true}, file, data)
}

// ParseDelivered is [ParseDelivered].
func (v *Versions) ParseDelivered(file string, data []byte, list *Allowed) (*Map, error) {
	return v.parse(parser{allowed: list, delivered: true}, file, data)
}

// parse takes over the tables of the last version. If that leads to any fault, all is
// parsed: only then are the faults those of the whole map.
func (v *Versions) parse(p parser, file string, data []byte) (*Map, error) {
	if v == nil {
		return p.parse(file, data)
	}
	text := string(data)
	if rest, known := cut(text, v.last); known != nil && len(v.last) > 0 {
		again := p
		again.pieces = known
		if m, err := again.parse(file, []byte(rest)); err == nil {
			v.last = known.plain
			return m, nil
		}
	}
	_, p.pieces = cut(text, nil)
	m, err := p.parse(file, data)
	if v.last = nil; err == nil && p.pieces != nil {
		v.last = p.pieces.plain
	}
	return m, err
}

// pieces are the [[mirror]] tables of a document whose known tables are cut out. In the
// document, one empty table stands for several known ones that follow each other.
type pieces struct {
	steps []step
	// plain are the tables to know next time.
	plain []plainMirror
	spare []Target // allocated and not used yet
}

// A step is a [[mirror]] table of the document.
type step struct {
	text string // the lines of the table, and for known ones all that follows too
	// isWhole says that text is certainly the whole table.
	isWhole bool
	lines   int
	// known are the tables that this one stands for, beginning on a line; nil if it is
	// there itself.
	known []plainMirror
	line  int
}

// fit reports whether the document has the tables that were found in its lines.
func (t *pieces) fit(v *value) bool {
	return v == nil && len(t.steps) == 0 || v != nil && v.headed && len(v.list) == len(t.steps)
}

func (t *pieces) hasKnown() bool {
	return slices.ContainsFunc(t.steps, func(s step) bool { return s.known != nil })
}

// count returns how many mirrors there are, at most, with the known ones.
func (t *pieces) count() int {
	if t == nil {
		return 0
	}
	n := 0
	for _, one := range t.steps {
		n += max(1, len(one.known))
	}
	return n
}

const mirrorHeader = "[[mirror]]\n"

// otherHeaders begin the other tables of a map. No value can begin a line like that, not
// even in a list over several lines, so a table before it has ended.
var otherHeaders = []string{"[registry.", "[credential.", "[containerd]", "[kubelet]"}

// window is how many known tables are compared with a table: some may have been removed.
const window = 8

// cut returns a document without the known tables, with as many lines as before, and its
// tables. They are nil if lines alone do not tell where a table is. The known tables are
// parts of valid maps, so a document is as valid without them as with them.
func cut(text string, known []plainMirror) (rest string, t *pieces) {
	if strings.Contains(text, `"""`) || strings.Contains(text, "'''") {
		return "", nil // a line may be in a string
	}
	t = new(pieces)
	var b strings.Builder
	isRun := false // the last step can go on
	for line := 1; text != ""; {
		if !strings.HasPrefix(text, mirrorHeader) {
			n := 1 + strings.IndexByte(text, '\n')
			if n == 0 {
				n = len(text)
			}
			b.WriteString(text[:n])
			text, line, isRun = text[n:], line+1, false
			continue
		}
		n, lines, isWhole := tableLength(text)
		i := slices.IndexFunc(known[:min(window, len(known))], func(one plainMirror) bool { return one.text == text[:n] })
		switch {
		case !isWhole || i < 0:
			b.WriteString(text[:n])
			t.steps = append(t.steps, step{text: text[:n], isWhole: isWhole, lines: lines})
		case isRun && i == 0:
			last := &t.steps[len(t.steps)-1]
			last.known = last.known[:len(last.known)+1]
		default:
			b.WriteString("[[mirror]]")
			t.steps = append(t.steps, step{text: text, known: known[i : i+1], line: line})
		}
		if isRun = isWhole && i >= 0; isRun {
			b.WriteString(strings.Repeat("\n", lines))
			known = known[i+1:]
		}
		text, line = text[n:], line+lines
	}
	return b.String(), t
}

// tableLength returns the length of the table that text begins with, in bytes and in
// lines, and whether it certainly ends there.
func tableLength(text string) (n, lines int, isWhole bool) {
	n, lines = len(mirrorHeader), 1
	for n < len(text) {
		rest := text[n:]
		if begin := rest[0]; begin == '[' || (begin == ' ' || begin == '\t') && strings.HasPrefix(strings.TrimLeft(rest, " \t"), "[") {
			return n, lines, strings.HasPrefix(rest, mirrorHeader) || slices.ContainsFunc(otherHeaders, func(h string) bool { return strings.HasPrefix(rest, h) })
		}
		length := strings.IndexByte(rest, '\n')
		if length < 0 {
			return len(text), lines, false
		}
		n, lines = n+length+1, lines+1
	}
	return n, lines, true
}

// versionMirrors is [parser.mirrors] for a document of [Versions].
func (p *parser) versionMirrors(list []*value) {
	t := p.pieces
	t.plain = make([]plainMirror, 0, len(list))
	for i, e := range list {
		switch one := t.steps[i]; {
		case one.known == nil:
			p.mirrorAgain(one, e.table)
		case len(e.table.keys) > 0:
			p.add(e.line, "the mirror has a table of its own")
		default:
			p.takeOver(one)
		}
	}
}

// mirrorAgain reads a table, and remembers it if it is plain.
func (p *parser) mirrorAgain(of step, t *table) {
	before := len(p.m.Mirrors)
	p.mirror(t)
	isOther := func(key string) bool { return key != "source" && key != "targets" }
	if len(p.m.Mirrors) == before || !of.isWhole || slices.ContainsFunc(t.keys, isOther) {
		return
	}
	m := p.m.Mirrors[before]
	m.Targets = slices.Clone(m.Targets)
	p.pieces.plain = append(p.pieces.plain, plainMirror{of.text, of.lines, m})
}

// takeOver adds the mirrors of known tables.
func (p *parser) takeOver(of step) {
	text, line := of.text, of.line
	for _, one := range of.known {
		one.text, text = text[:len(one.text)], text[len(one.text):] // of this version
		p.pieces.plain = append(p.pieces.plain, one)
		m := one.mirror
		m.Line, line = line, line+one.lines
		m.Targets = p.pieces.copy(m.Targets)
		p.addMirror(m, nil, m.Line)
	}
}

// copy copies the targets of a mirror, whose settings are put in later. They are allocated
// many at a time.
func (t *pieces) copy(list []Target) []Target {
	if len(t.spare) < len(list) {
		t.spare = make([]Target, max(256, len(list)))
	}
	n := copy(t.spare, list)
	list, t.spare = t.spare[:n:n], t.spare[n:]
	return list
}
