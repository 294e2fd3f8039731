package kubeletconfig

import (
	"bytes"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

var bom = []byte("\ufeff")

// A text is a file as lines, each with its end, so that no byte is lost.
type text struct {
	bom   bool
	lines []string
	eol   string // the end of the first line, for added lines
}

func newText(data []byte) *text {
	rest, hasBOM := bytes.CutPrefix(data, bom)
	t := &text{bom: hasBOM, eol: "\n"}
	t.lines = slices.Collect(strings.Lines(string(rest)))
	if len(t.lines) > 0 && strings.HasSuffix(t.lines[0], "\r\n") {
		t.eol = "\r\n"
	}
	return t
}

func (t *text) bytes() []byte {
	data := []byte(strings.Join(t.lines, ""))
	if t.bom {
		data = append(slices.Clone(bom), data...)
	}
	return data
}

// insert puts lines, which have no ends, before line at.
func (t *text) insert(at int, lines []string) {
	if at > 0 && !strings.HasSuffix(t.lines[at-1], "\n") {
		t.lines[at-1] += t.eol
	}
	ended := make([]string, len(lines))
	for i, line := range lines {
		ended[i] = line + t.eol
	}
	t.lines = slices.Insert(t.lines, at, ended...)
}

func indent(n int, lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = strings.Repeat(" ", n) + line
	}
	return out
}

// indentOf returns how many spaces begin a line.
func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// isComment and isBlank check a whole line.
func isComment(line string) bool { return strings.HasPrefix(strings.TrimSpace(line), "#") }
func isBlank(line string) bool   { return strings.TrimSpace(line) == "" }

// editText replaces item at of the providers by the lines of an entry, or adds
// them after the last item for -1, and removes the item if there are no lines.
// It works on lines, by the positions of yaml.v3's nodes, since encoding the
// tree would change quotes, indents and blank lines of other entries. False means that
// the layout does not allow that. The caller must still check the result.
func editText(old []byte, at int, entry []string) ([]byte, bool) {
	t := newText(old)
	joined := strings.Join(t.lines, "")
	// YAML 1.1 ends lines at these too, so its line numbers differ.
	if strings.Contains(strings.ReplaceAll(joined, "\r\n", ""), "\r") || strings.ContainsAny(joined, "\u0085\u2028\u2029") {
		return nil, false
	}
	var doc yaml.Node
	if yaml.Unmarshal([]byte(joined), &doc) != nil || len(doc.Content) != 1 {
		return nil, false
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode || root.Style&yaml.FlowStyle != 0 {
		return nil, false
	}
	key, list := lookup(root, "providers")
	if list != nil && !t.place(list) {
		return nil, false
	}
	switch {
	case key == nil:
		end := t.contentEnd(root.Line-1, t.documentEnd(root.Line-1), -1)
		t.insert(end, indent(root.Column-1, append([]string{"providers:"}, indent(2, entry)...)))
	case len(list.Content) == 0:
		if !t.fillEmpty(root, key, list, entry) {
			return nil, false
		}
	case list.Kind != yaml.SequenceNode || list.Style&yaml.FlowStyle != 0:
		return nil, false
	case at < 0:
		dash := list.Column - 1
		end := t.contentEnd(list.Line-1, t.listEnd(root, key), dash)
		t.insert(end, indent(dash, entry))
	case !t.replace(root, key, list, at, entry):
		return nil, false
	}
	return t.bytes(), true
}

// place moves a block sequence with an anchor or a tag to its first dash:
// yaml.v3 has the position of the anchor. It is false if there is no such dash.
func (t *text) place(list *yaml.Node) bool {
	if list.Kind != yaml.SequenceNode || list.Style&yaml.FlowStyle != 0 || len(list.Content) == 0 ||
		list.Anchor == "" && list.Style&yaml.TaggedStyle == 0 {
		return true
	}
	for i := list.Line; i < len(t.lines); i++ {
		if isBlank(t.lines[i]) || isComment(t.lines[i]) {
			continue
		}
		list.Line, list.Column = i+1, indentOf(t.lines[i])+1
		return t.lines[i][indentOf(t.lines[i])] == '-'
	}
	return false
}

// documentEnd returns the first line from start on that ends the document.
func (t *text) documentEnd(start int) int {
	for i := start; i < len(t.lines); i++ {
		mark, _, _ := strings.Cut(strings.TrimRight(t.lines[i], "\r\n"), " ")
		if mark == "..." || mark == "---" && i > start {
			return i
		}
	}
	return len(t.lines)
}

// listEnd returns the line of root's key after the given one, or where the
// document ends.
func (t *text) listEnd(root, key *yaml.Node) int {
	for i := 0; i+2 < len(root.Content); i += 2 {
		if root.Content[i] == key {
			return root.Content[i+2].Line - 1
		}
	}
	return t.documentEnd(key.Line - 1)
}

// contentEnd goes back from line end, not beyond start, over blank lines and
// over comments indented no deeper than dash: those belong to what follows,
// deeper ones to what is above.
func (t *text) contentEnd(start, end, dash int) int {
	for end > start+1 {
		line := t.lines[end-1]
		if !isBlank(line) && !(isComment(line) && indentOf(line) <= dash) {
			break
		}
		end--
	}
	return end
}

// fillEmpty handles "providers:", "providers: null" and "providers: []".
func (t *text) fillEmpty(root, key, list *yaml.Node, entry []string) bool {
	line, column := key.Line-1, key.Column-1
	value := ""
	if list.Line > 0 && list.Kind == yaml.SequenceNode {
		value = "[]"
	} else if list.Kind == yaml.ScalarNode && list.Tag == "!!null" {
		value = list.Value
	}
	head, tail, ok := strings.Cut(t.lines[line], ":")
	if !ok || strings.TrimSpace(head) != key.Value {
		return false
	}
	if value != "" {
		cut := strings.TrimLeft(tail, " ")
		if !strings.HasPrefix(cut, value) {
			return false
		}
		cut = cut[len(value):]
		if isBlank(cut) {
			tail = strings.TrimLeft(cut, " ")
		} else {
			tail = cut
		}
	}
	end := t.contentEnd(line, t.listEnd(root, key), column+2)
	t.lines[line] = head + ":" + tail
	t.insert(end, indent(column+2, entry))
	return true
}

// replace replaces the lines of item at by an entry, or removes them. Comments
// in an entry that mirrorcred did not write move above it; in one of its own
// they are removed.
func (t *text) replace(root, key, list *yaml.Node, at int, entry []string) bool {
	dash := list.Column - 1
	start := t.itemStart(list.Content[at].Line-1, dash)
	end := t.listEnd(root, key)
	if at+1 < len(list.Content) {
		end = t.itemStart(list.Content[at+1].Line-1, dash)
	}
	if end <= start {
		return false // an anchor or a tag has moved the list
	}
	// Comments below the last value stay, however deep: none of mirrorcred's
	// values looks like one.
	for end > start+1 && (isBlank(t.lines[end-1]) || isComment(t.lines[end-1])) {
		end--
	}
	var above []string
	if start > 0 && strings.HasPrefix(strings.TrimSpace(t.lines[start-1]), markerPrefix) {
		start--
	} else {
		above = comments(t.lines[start:end], list.Content[at])
	}
	t.lines = slices.Delete(t.lines, start, end)
	t.insert(start, indent(dash, append(above, entry...)))
	return true
}

// itemStart returns the line of an item's dash, at or above the line of its
// value.
func (t *text) itemStart(line, dash int) int {
	for i := line; i >= 0; i-- {
		if s := t.lines[i]; indentOf(s) == dash && len(s) > dash && s[dash] == '-' {
			return i
		}
	}
	return line
}

// comments returns the comments in the lines of an item, those on their own
// lines first, then those after values.
func comments(lines []string, item *yaml.Node) []string {
	var out []string
	for i, line := range lines {
		if i == 0 { // after the dash there may be nothing else
			line = strings.Replace(line, "-", " ", 1)
		}
		if isComment(line) {
			out = append(out, strings.TrimSpace(line))
		}
	}
	var walk func(n *yaml.Node)
	walk = func(n *yaml.Node) {
		if n.LineComment != "" && !slices.Contains(out, n.LineComment) {
			out = append(out, strings.Split(n.LineComment, "\n")...)
		}
		for _, child := range n.Content {
			walk(child)
		}
	}
	walk(item)
	return out
}
