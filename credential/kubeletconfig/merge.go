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

// merge puts p into old, and returns only what proves right.
func merge(file string, old []byte, p Provider) ([]byte, error) {
	if isBare(old) {
		return fresh(old, p)
	}
	doc, faults := decode(old)
	faults = append(faults, doc.validate()...)
	at := slices.IndexFunc(doc.config.Providers, func(e kubelet.CredentialProvider) bool { return e.Name == p.Name })
	// What is wrong with our entry ends with it.
	ours := fmt.Sprintf("providers[%d].", at)
	faults = slices.DeleteFunc(faults, func(f *Fault) bool { return strings.HasPrefix(f.Field, ours) })
	if len(faults) > 0 {
		return nil, joinFaults(file, faults)
	}
	want := doc.with(at, p)
	if isJSON(old) {
		return mergeJSON(old, doc, at, want)
	}
	if data, ok := editText(old, at, p); ok && prove(data, want) == nil {
		return data, nil
	}
	if block, ok := toBlock(old); ok {
		if data, ok := editText(block, at, p); ok && prove(data, want) == nil {
			return data, nil
		}
	}
	return nil, errLayout
}

// with returns the configuration with p in its place, at the end for -1.
func (d *document) with(at int, p Provider) kubelet.CredentialProviderConfig {
	want := d.config
	want.Providers = slices.Clone(want.Providers)
	if at < 0 {
		want.Providers = append(want.Providers, p.entry())
	} else {
		want.Providers[at] = p.entry()
	}
	return want
}

// prove reads data back and holds it against want.
func prove(data []byte, want kubelet.CredentialProviderConfig) error {
	doc, faults := decode(data)
	if faults = append(faults, doc.validate()...); len(faults) > 0 {
		return joinFaults("", faults)
	}
	if !reflect.DeepEqual(doc.config, want) {
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
func fresh(old []byte, p Provider) ([]byte, error) {
	t := newText(old)
	t.insert(len(t.lines), append([]string{"apiVersion: " + versions[0], "kind: " + kind, "providers:"}, indent(2, p.lines())...))
	var want document
	want.config.APIVersion, want.config.Kind = versions[0], kind
	if err := prove(t.bytes(), want.with(-1, p)); err != nil {
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
func mergeJSON(old []byte, doc document, at int, want kubelet.CredentialProviderConfig) ([]byte, error) {
	if at >= 0 && reflect.DeepEqual(doc.config, want) && prove(old, want) == nil {
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
	if at < 0 {
		at = len(file.Providers)
		file.Providers = append(file.Providers, nil)
	}
	var err error
	if file.Providers[at], err = encodeJSON(want.Providers[at]); err != nil {
		return nil, err
	}
	data, err := encodeJSON(file)
	if err != nil || prove(data, want) != nil {
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
