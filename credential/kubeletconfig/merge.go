package kubeletconfig

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v4"
)

// errLayout is the fault of a text that can neither be edited nor rewritten
// without changing the meaning of the other entries.
var errLayout error = &Fault{
	Text:   "mirrorcred cannot add to a file with this layout without changing the rest",
	Fix:    "write it as one document of block YAML, without anchors, merge keys or tabs",
	Starts: true,
}

// merge puts mirrorcred's providers into old, removes stale ones, and returns
// the result only if it proves right.
func merge(file string, old []byte, desired Desired) ([]byte, error) {
	data := old
	// Existing ones come first: a torn entry of mirrorcred's is whole again before
	// another is put behind it.
	list := slices.Concat(desired.Providers, desired.Shared)
	doc, _ := desired.reader.decode(old)
	isNew := func(p Provider) int {
		if slices.ContainsFunc(doc.config.Providers, func(there Provider) bool { return there.Name == p.Name }) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(list, func(a, b Provider) int { return isNew(a) - isNew(b) })
	for _, p := range list {
		var err error
		if data, err = put(file, data, p.Name, &p, desired); err != nil {
			return nil, err
		}
	}
	for _, name := range stale(data, desired) {
		var err error
		if data, err = put(file, data, name, nil, desired); err != nil {
			return nil, err
		}
	}
	after, faults := desired.reader.decode(data)
	if faults = append(faults, after.invalid()...); len(faults) > 0 {
		return nil, errLayout
	}
	return data, nil
}

// stale returns the names of mirrorcred's providers to remove, each as often as
// it occurs.
func stale(data []byte, desired Desired) []string {
	doc, _ := desired.reader.decode(data)
	var names []string
	for _, p := range doc.config.Providers {
		if desired.Stale(p.Name) && !has(desired.Providers, p.Name) && !has(desired.Shared, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// put sets the provider of a name to p, or removes it if p is nil.
func put(file string, old []byte, name string, p *Provider, desired Desired) ([]byte, error) {
	if isBare(old) {
		if data, err := fresh(old, *p, desired); err == nil {
			return data, nil
		} // a comment may hold what YAML does not allow, which is a fault below
	}
	doc, faults := desired.reader.decode(old)
	if faults = doc.ofOthers(append(faults, doc.invalid()...), desired); len(faults) > 0 {
		return nil, joinFaults(file, faults)
	}
	if p != nil && p.TokenAttributes != nil && doc.config.APIVersion != versions[0] {
		return nil, &Fault{File: file, Line: doc.line("apiVersion"), Field: "apiVersion", Starts: true, Text: fmt.Sprintf("%q knows no tokenAttributes, which %q has", doc.config.APIVersion, name), Fix: fmt.Sprintf("write \"apiVersion: %s\"", versions[0])}
	}
	at := slices.IndexFunc(doc.config.Providers, func(e Provider) bool { return e.Name == name })
	if p != nil && at >= 0 && has(desired.Shared, name) && reflect.DeepEqual(doc.config.Providers[at], *p) {
		return old, nil // keeps the layout that its owner chose
	}
	want := doc.with(at, p)
	if isJSON(old) {
		return mergeJSON(old, doc, at, want, desired)
	}
	entry := desired.lines(p)
	if data, ok := editText(old, at, entry); ok && prove(data, want, desired) == nil {
		return data, nil
	}
	if block, ok := toBlock(old); ok {
		if data, ok := editText(block, at, entry); ok && prove(data, want, desired) == nil {
			return data, nil
		}
	}
	if data, ok := rebuild(old, want, desired); ok {
		return data, nil
	}
	return nil, errLayout
}

// ofOthers returns the faults outside mirrorcred's entries: what is wrong with
// those ends with them. The second entry of a name stays one.
func (d *document) ofOthers(faults []*Fault, desired Desired) []*Fault {
	seen := map[string]bool{}
	for i, e := range d.config.Providers {
		if desired.owns(e.Name) && !seen[e.Name] {
			seen[e.Name] = true
			field := fmt.Sprintf("providers[%d].", i)
			faults = slices.DeleteFunc(faults, func(f *Fault) bool { return strings.HasPrefix(f.Field, field) })
		}
	}
	return faults
}

// with returns the configuration with p at index at, or at the end for -1, or
// without the provider there if p is nil.
func (d *document) with(at int, p *Provider) configuration {
	want := d.config
	want.Providers = slices.Clone(want.Providers)
	switch {
	case p == nil:
		want.Providers = slices.Delete(want.Providers, at, at+1)
	case at < 0:
		want.Providers = append(want.Providers, *p)
	default:
		want.Providers[at] = *p
	}
	return want
}

// prove reads data back and compares it with want.
func prove(data []byte, want configuration, desired Desired) error {
	doc, faults := desired.reader.decode(data)
	if faults = doc.ofOthers(append(faults, doc.invalid()...), desired); len(faults) > 0 || !reflect.DeepEqual(doc.config, want) {
		return errLayout
	}
	return nil
}

// isBare reports whether a file holds nothing but blanks, comments and the
// mark of a document's start.
func isBare(data []byte) bool {
	// A lone \r ends a line in YAML.
	data = bytes.ReplaceAll(bytes.TrimPrefix(data, bom), []byte("\r"), []byte("\n"))
	for line := range bytes.Lines(data) {
		line = bytes.Trim(line, " \t\n") // YAML has no other blanks
		if len(line) > 0 && line[0] != '#' && string(line) != "---" {
			return false
		}
	}
	return true
}

// fresh returns a whole file, below the comments of the one there is.
func fresh(old []byte, p Provider, desired Desired) ([]byte, error) {
	// A lone \r ends a line in YAML, but not in the lines that are edited here.
	old = bytes.ReplaceAll(bytes.ReplaceAll(old, []byte("\r\n"), []byte("\x00")), []byte("\r"), []byte("\n"))
	t := newText(bytes.ReplaceAll(old, []byte("\x00"), []byte("\r\n")))
	t.insert(len(t.lines), append([]string{"apiVersion: " + versions[0], "kind: " + kind, "providers:"}, indent(2, desired.lines(&p))...))
	var want document
	want.config.APIVersion, want.config.Kind = versions[0], kind
	if err := prove(t.bytes(), want.with(-1, &p), desired); err != nil {
		return nil, errLayout
	}
	return t.bytes(), nil
}

var comment = regexp.MustCompile(`(?m)(?:^|\s)(#[^\r\n]*)`)

// toBlock formats a file again with the list of providers in block style. The
// order of keys and the comments survive, or it returns false, because yaml.v3
// drops some.
func toBlock(old []byte) ([]byte, bool) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(old))
	if d.Decode(&doc) != nil || len(doc.Content) != 1 {
		return nil, false
	}
	// A second document would be lost. The kubelet does not read it, but it
	// is another program's text.
	if more := new(yaml.Node); d.Decode(more) == nil {
		return nil, false
	}
	root := doc.Content[0]
	root.Style &^= yaml.FlowStyle
	if _, list := lookup(root, "providers"); list != nil {
		list.Style &^= yaml.FlowStyle
	}
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	if e.Encode(&doc) != nil || e.Close() != nil {
		return nil, false
	}
	for _, m := range comment.FindAllSubmatch(old, -1) {
		if !bytes.Contains(out.Bytes(), bytes.TrimSpace(m[1])) {
			return nil, false
		}
	}
	return out.Bytes(), true
}

// mergeJSON formats a JSON file again, and keeps the keys, order and numbers of
// each other provider.
func mergeJSON(old []byte, doc *document, at int, want configuration, desired Desired) ([]byte, error) {
	if reflect.DeepEqual(doc.config, want) && prove(old, want, desired) == nil {
		return old, nil
	}
	var file struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Providers  []json.RawMessage `json:"providers"`
	}
	if err := json.Unmarshal(old, &file); err != nil {
		return nil, errLayout
	}
	switch {
	case len(want.Providers) < len(file.Providers):
		file.Providers = slices.Delete(file.Providers, at, at+1)
	case at < 0:
		at = len(file.Providers)
		file.Providers = append(file.Providers, nil)
		fallthrough
	default:
		var err error
		if file.Providers[at], err = encodeJSON(want.Providers[at]); err != nil {
			return nil, err
		}
	}
	data, err := encodeJSON(file)
	if err != nil || prove(data, want, desired) != nil {
		return rebuildJSON(want, desired)
	}
	return data, nil
}

func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(v)
	return out.Bytes(), err
}
