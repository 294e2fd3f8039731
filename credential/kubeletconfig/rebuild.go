package kubeletconfig

import (
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

// rebuild writes a file's first document again, in mirrorcred's own layout, if
// neither its text nor its tree can be edited: an entry of mirrorcred's is what
// an alias leads to, or the list of providers is one. Since the kubelet refuses
// unknown fields, the configuration as it is read is all that the document
// means. Its comments are kept above it, and everything around it stays.
func rebuild(old []byte, want configuration, desired Desired) ([]byte, bool) {
	t := newText(old)
	start := t.documentStart()
	end := t.documentEnd(start)
	var out []string
	if start < end && strings.HasPrefix(t.lines[start], "---") {
		out = append(out, "---")
	}
	out = append(out, looseComments(strings.Join(t.lines[start:end], ""))...)
	out = append(out, "apiVersion: "+want.APIVersion, "kind: "+want.Kind, "providers:")
	for _, p := range want.Providers {
		if has(desired.Providers, p.Name) {
			out = append(out, indent(2, desired.lines(&p))...)
		} else {
			out = append(out, indent(2, lines(p))...)
		}
	}
	tail := slices.Clone(t.lines[end:])
	t.lines = t.lines[:start]
	t.insert(start, out)
	t.lines = append(t.lines, tail...)
	data := t.bytes()
	return data, prove(data, want, desired) == nil
}

// documentStart returns the line on which the content of the first document
// begins, after comments, blanks, directives and the mark of its start.
func (t *text) documentStart() int {
	for i, line := range t.lines {
		if s := strings.TrimSpace(line); s != "" && s[0] != '#' && s[0] != '%' && s != "---" {
			return i
		}
	}
	return len(t.lines)
}

// looseComments returns the comments in a document: those that the YAML library
// knows, and then those that it loses. Text inside a value is not a comment.
func looseComments(document string) []string {
	var root yaml.Node
	var found reading
	if yaml.Unmarshal([]byte(document), &root) == nil {
		found.walk(&root)
	}
	for _, m := range comment.FindAllStringSubmatch(document, -1) {
		text := strings.TrimSpace(m[1])
		begin := text
		if i := strings.IndexAny(text, "\"'"); i > 0 {
			begin = text[:i] // a value ends here
		}
		inValue := slices.ContainsFunc(found.values, func(v string) bool { return strings.Contains(v, begin) })
		known := slices.ContainsFunc(found.comments, func(c string) bool { return strings.Contains(text, c) })
		if !inValue && !known {
			found.comments = append(found.comments, text)
		}
	}
	return slices.DeleteFunc(found.comments, func(c string) bool { return strings.HasPrefix(c, markerPrefix) })
}

// A reading is what a document contains besides its meaning.
type reading struct{ comments, values []string }

func (r *reading) walk(n *yaml.Node) {
	for _, text := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				r.comments = append(r.comments, line)
			}
		}
	}
	if n.Kind == yaml.ScalarNode {
		r.values = append(r.values, n.Value)
	}
	for _, child := range n.Content {
		r.walk(child)
	}
}

// rebuildJSON is rebuild for JSON, which has no comments.
func rebuildJSON(want configuration, desired Desired) ([]byte, error) {
	data, err := encodeJSON(want)
	if err != nil || prove(data, want, desired) != nil {
		return nil, errLayout
	}
	return data, nil
}
