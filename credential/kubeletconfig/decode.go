package kubeletconfig

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v4"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"
)

const kind = "CredentialProviderConfig"

// versions are the apiVersions that the kubelet reads, the one that mirrorcred
// writes first (Kubernetes v1.37.0, pkg/credentialprovider/plugin/config.go,
// decode).
var versions = [...]string{
	group + "/v1",
	group + "/v1beta1",
	group + "/v1alpha1",
}

// A Fault is something in a file that keeps the kubelet from starting, or keeps
// mirrorcred from adding its providers.
type Fault struct {
	File  string // "" if the caller gave no name
	Line  int    // 0 if unknown
	Field string // such as "providers[0].matchImages", or "" for the file
	Text  string // the fault
	Fix   string // what to do
	Name  string // a stable name, such as NameTwice; "" for most
	// Starts says that the kubelet starts with the file as it is.
	Starts bool
}

// The names of faults, as "mirrorcred check" reports them (docs/check.md).
const (
	NameTwice     = "provider-name-twice"
	BadAPIVersion = "api-version"
)

// Error returns the place, the fault, and what to do.
func (f *Fault) Error() string {
	s := f.Text + "; " + f.Fix
	if f.Field != "" {
		s = f.Field + ": " + s
	}
	switch {
	case f.File != "" && f.Line > 0:
		return fmt.Sprintf("%s:%d: %s", f.File, f.Line, s)
	case f.File != "":
		return f.File + ": " + s
	case f.Line > 0:
		return fmt.Sprintf("line %d: %s", f.Line, s)
	}
	return s
}

// joinFaults returns the faults of a file as one error, in the order of their
// lines.
func joinFaults(file string, faults []*Fault) error {
	slices.SortStableFunc(faults, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	errs := make([]error, len(faults))
	for i, f := range faults {
		named := *f
		named.File = file
		errs[i] = &named
	}
	return errors.Join(errs...)
}

// A document is a file as the kubelet reads it.
type document struct {
	config configuration
	faults []*Fault // what decode found
	// invalid returns what validate finds, and root the first YAML document's
	// root, for places, or nil. Both are found when they are asked for first.
	invalid func() []*Fault
	root    func() *yaml.Node
}

// decode reads data as the kubelet does (plugin.go, codecs, a strict decoder):
// text that begins with "{" is JSON, all else is YAML 1.1, of which the first
// document counts. It calls the packages below the codec, which itself brings a
// scheme and four more formats. If there are faults, the document holds what
// could be read.
func decode(data []byte) *document {
	doc := &document{}
	doc.invalid = sync.OnceValue(doc.validate)
	doc.root = sync.OnceValue(func() *yaml.Node { return rootOf(data) })
	doc.faults = doc.decode(data)
	return doc
}

// decode fills the config and returns the faults.
func (d *document) decode(data []byte) []*Fault {
	if !utf8.Valid(data) {
		return []*Fault{{Text: "the file is not UTF-8", Fix: "save it as UTF-8"}}
	}
	text, faults := data, []*Fault(nil)
	if !isJSON(data) {
		var err error
		if text, err = kyaml.YAMLToJSONStrict(data); err != nil {
			faults = yamlFaults(data, err)
			if text, err = kyaml.YAMLToJSON(data); err != nil {
				return yamlFaults(data, err)
			}
		}
	}
	if fault := d.checkType(text); fault != nil {
		return append(faults, fault)
	}
	return append(faults, d.decodeProviders(text)...)
}

// rootOf returns the root of the first YAML document, nil if there is none.
func rootOf(data []byte) *yaml.Node {
	var parsed yaml.Node
	if err := yaml.Unmarshal(data, &parsed); err != nil || len(parsed.Content) != 1 {
		return nil
	}
	return parsed.Content[0]
}

// isJSON is how the kubelet tells JSON from YAML (k8s.io/apimachinery v0.37.2,
// pkg/util/yaml, IsJSONBuffer).
func isJSON(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{"))
}

var yamlPlace = regexp.MustCompile(`line (\d+): ([^\n]*)`)

// tabNear returns the line with a tab in its indentation at which a YAML reader
// failed; the reader names that line or the one before. It is 0 if there is
// none.
func tabNear(data []byte, line int) int {
	lines := bytes.Split(data, []byte("\n"))
	for n := max(line, 1); n <= min(line+1, len(lines)); n++ {
		text := lines[n-1]
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if bytes.ContainsRune(indent, '\t') && len(indent) < len(text) {
			return n
		}
	}
	return 0
}

// yamlFaults splits the error of a YAML reader, which may name many lines.
func yamlFaults(data []byte, err error) []*Fault {
	var faults []*Fault
	for _, m := range yamlPlace.FindAllStringSubmatch(err.Error(), -1) {
		line, _ := strconv.Atoi(m[1])
		text, fix := m[2], "fix the YAML here"
		if tab := tabNear(data, line); tab > 0 {
			line, text, fix = tab, "YAML takes no tab before a key or a value", "write spaces"
		}
		faults = append(faults, &Fault{Line: line, Text: text, Fix: fix})
	}
	if faults == nil {
		faults = []*Fault{{Text: strings.TrimPrefix(err.Error(), "yaml: "), Fix: "fix the YAML"}}
	}
	return faults
}

// checkType checks the kind and the apiVersion.
func (d *document) checkType(text []byte) *Fault {
	var head typeMeta
	err := kjson.UnmarshalCaseSensitivePreserveInts(text, &head)
	if ok, _ := kjson.SyntaxErrorOffset(err); ok {
		return &Fault{Text: fmt.Sprintf("the file begins as JSON and is not: %v", err), Fix: "fix the JSON, or write block YAML"}
	}
	if err != nil || head == (typeMeta{}) {
		return &Fault{Text: "the file is not a " + kind, Fix: fmt.Sprintf("begin it with \"apiVersion: %s\" and \"kind: %s\"", versions[0], kind)}
	}
	if head.Kind != kind {
		return &Fault{Line: d.line("kind"), Field: "kind", Text: fmt.Sprintf("%q is not what the kubelet reads here", head.Kind), Fix: fmt.Sprintf("write \"kind: %s\"", kind)}
	}
	for _, v := range versions {
		if head.APIVersion == v {
			d.config.typeMeta = head
			return nil
		}
	}
	return &Fault{Name: BadAPIVersion, Line: d.line("apiVersion"), Field: "apiVersion", Text: fmt.Sprintf("%q is not what the kubelet reads here", head.APIVersion), Fix: fmt.Sprintf("write \"apiVersion: %s\"", versions[0])}
}

// decodeProviders fills the config and reports unknown fields, duplicate ones,
// and values of the wrong type.
func (d *document) decodeProviders(text []byte) []*Fault {
	// Each version is as strict as its own type.
	var into any = &olderConfiguration{}
	if d.config.APIVersion == versions[0] {
		into = &configuration{}
	}
	strict, err := kjson.UnmarshalStrict(text, into)
	if err == nil {
		err = kjson.UnmarshalCaseSensitivePreserveInts(text, &d.config)
	}
	if err != nil {
		return []*Fault{d.typeFault(text)}
	}
	var faults []*Fault
	for _, err := range strict {
		fault := &Fault{Text: err.Error(), Fix: "take it out"}
		if at, ok := err.(kjson.FieldError); ok {
			what := strings.TrimSuffix(err.Error(), " "+strconv.Quote(at.FieldPath()))
			fault = &Fault{Line: d.line(at.FieldPath()), Field: at.FieldPath()}
			fault.Text, fault.Fix = fmt.Sprintf("%s in %s", what, d.config.APIVersion), "take it out or fix its spelling"
		}
		faults = append(faults, fault)
	}
	return faults
}

// typeFault finds the value of the wrong type by decoding the values one by
// one: the decoder's error names neither provider nor line.
func (d *document) typeFault(text []byte) *Fault {
	var file struct{ Providers []map[string]json.RawMessage }
	if json.Unmarshal(text, &file) == nil {
		for i, provider := range file.Providers {
			for _, key := range []string{"name", "matchImages", "defaultCacheDuration", "apiVersion", "args", "env", "tokenAttributes"} {
				one, _ := json.Marshal(map[string]json.RawMessage{key: provider[key]})
				if kjson.UnmarshalCaseSensitivePreserveInts(one, &Provider{}) != nil {
					field := fmt.Sprintf("providers[%d].%s", i, key)
					return &Fault{Line: d.line(field), Field: field, Text: "the value has the wrong type", Fix: typeHint(key)}
				}
			}
		}
	}
	return &Fault{Line: d.line("providers"), Field: "providers", Text: "the value has the wrong type", Fix: "write a list of providers"}
}

func typeHint(key string) string {
	switch key {
	case "matchImages", "args":
		return "write a list of strings, in quotes"
	case "defaultCacheDuration":
		return "write a duration in quotes, such as \"10m\""
	case "env":
		return "write a list of name and value, both strings in quotes"
	case "tokenAttributes":
		return "write its fields as the kubelet's documentation has them"
	}
	return "write a string, in quotes"
}

// line returns the line of the value that field names, of the nearest value
// above it if there is none, and 0 if unknown.
func (d *document) line(field string) int {
	node, line := d.root(), 0
	if node == nil {
		return 0
	}
	for step := range strings.SplitSeq(strings.ReplaceAll(field, "[", ".["), ".") {
		var next *yaml.Node
		if index, ok := strings.CutPrefix(step, "["); ok {
			i, err := strconv.Atoi(strings.TrimSuffix(index, "]"))
			if err == nil && node.Kind == yaml.SequenceNode && i < len(node.Content) {
				next = node.Content[i]
				line = next.Line
			}
		} else if key, value := lookup(node, step); key != nil {
			next, line = value, key.Line
		}
		if next == nil {
			return line
		}
		node = next
	}
	return line
}

// lookup returns the key and the value of a mapping's key, or nils.
func lookup(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	if mapping.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}
