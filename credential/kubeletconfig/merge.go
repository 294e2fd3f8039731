package kubeletconfig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"
	kubelet "k8s.io/kubelet/config/v1"
)

// errLayout is what is left when neither the text nor the tree can be edited
// without changing what is not ours.
var errLayout = errors.New("the file's layout cannot be edited safely; write it as one document of block YAML, without anchors, merge keys or tabs")

// merge puts our providers into old, takes stale ones out, and returns only
// what proves right.
func merge(file string, old []byte, ours Ours) ([]byte, error) {
	data := old
	for _, p := range slices.Concat(ours.Providers, ours.Shared) {
		var err error
		if data, err = put(file, data, p.Name, &p, ours); err != nil {
			return nil, err
		}
	}
	for _, name := range stale(data, ours) {
		var err error
		if data, err = put(file, data, name, nil, ours); err != nil {
			return nil, err
		}
	}
	doc, faults := decode(data)
	if faults = append(faults, doc.validate()...); len(faults) > 0 {
		return nil, errLayout
	}
	return data, nil
}

// stale returns the names of our providers that are to go, each as often as it
// is there.
func stale(data []byte, ours Ours) []string {
	doc, _ := decode(data)
	var names []string
	for _, p := range doc.config.Providers {
		if ours.Stale(p.Name) && !has(ours.Providers, p.Name) && !has(ours.Shared, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// put makes the provider of a name p, or takes it out where p is nil.
func put(file string, old []byte, name string, p *Provider, ours Ours) ([]byte, error) {
	if isBare(old) {
		return fresh(old, *p, ours)
	}
	doc, faults := decode(old)
	if faults = doc.ofOthers(append(faults, doc.validate()...), ours); len(faults) > 0 {
		return nil, joinFaults(file, faults)
	}
	if p != nil && p.TokenAttributes != nil && doc.config.APIVersion != versions[0] {
		return nil, &Fault{file, doc.line("apiVersion"), "apiVersion", fmt.Sprintf("%q knows no tokenAttributes, which %q has; write \"apiVersion: %s\"", doc.config.APIVersion, name, versions[0])}
	}
	at := slices.IndexFunc(doc.config.Providers, func(e Provider) bool { return e.Name == name })
	if p != nil && at >= 0 && has(ours.Shared, name) && reflect.DeepEqual(doc.config.Providers[at], *p) {
		return old, nil // laid out as its owner likes it
	}
	want := doc.with(at, p)
	if isJSON(old) {
		return mergeJSON(old, doc, at, want, ours)
	}
	entry := ours.lines(p)
	if data, ok := editText(old, at, entry); ok && prove(data, want, ours) == nil {
		return data, nil
	}
	if block, ok := toBlock(old); ok {
		if data, ok := editText(block, at, entry); ok && prove(data, want, ours) == nil {
			return data, nil
		}
	}
	return nil, errLayout
}

// ofOthers returns the faults that are in no entry of ours: what is wrong with
// those ends with them. The second entry of a name stays one.
func (d *document) ofOthers(faults []*Fault, ours Ours) []*Fault {
	seen := map[string]bool{}
	for i, e := range d.config.Providers {
		if ours.owns(e.Name) && !seen[e.Name] {
			seen[e.Name] = true
			field := fmt.Sprintf("providers[%d].", i)
			faults = slices.DeleteFunc(faults, func(f *Fault) bool { return strings.HasPrefix(f.Field, field) })
		}
	}
	return faults
}

// with returns the configuration with p in place at, at the end for -1, or
// without the provider there where p is nil.
func (d *document) with(at int, p *Provider) kubelet.CredentialProviderConfig {
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

// prove reads data back and holds it against want.
func prove(data []byte, want kubelet.CredentialProviderConfig, ours Ours) error {
	doc, faults := decode(data)
	if faults = doc.ofOthers(append(faults, doc.validate()...), ours); len(faults) > 0 || !reflect.DeepEqual(doc.config, want) {
		return errLayout
	}
	return nil
}

// isBare reports whether a file holds nothing but blanks, comments and the
// mark of a document's start.
func isBare(data []byte) bool {
	for line := range bytes.Lines(bytes.TrimPrefix(data, bom)) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && string(line) != "---" {
			return false
		}
	}
	return true
}

// fresh returns a whole file, below the comments of the one there is.
func fresh(old []byte, p Provider, ours Ours) ([]byte, error) {
	t := newText(old)
	t.insert(len(t.lines), append([]string{"apiVersion: " + versions[0], "kind: " + kind, "providers:"}, indent(2, ours.lines(&p))...))
	var want document
	want.config.APIVersion, want.config.Kind = versions[0], kind
	if err := prove(t.bytes(), want.with(-1, &p), ours); err != nil {
		return nil, errLayout
	}
	return t.bytes(), nil
}

var comment = regexp.MustCompile(`(?m)(?:^|\s)(#[^\r\n]*)`)

// toBlock lays a file out anew with the list of providers in block style. The
// order of keys survives, and so do comments, or it is false: yaml.v3 drops
// some.
func toBlock(old []byte) ([]byte, bool) {
	var doc yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(old))
	if d.Decode(&doc) != nil || len(doc.Content) != 1 {
		return nil, false
	}
	// A second document would be lost. The kubelet does not read it, but it
	// is somebody's text.
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

// mergeJSON lays a JSON file out anew, each other provider's keys, order and
// numbers as they were.
func mergeJSON(old []byte, doc document, at int, want kubelet.CredentialProviderConfig, ours Ours) ([]byte, error) {
	if reflect.DeepEqual(doc.config, want) && prove(old, want, ours) == nil {
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
	if err != nil || prove(data, want, ours) != nil {
		return nil, errLayout
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
