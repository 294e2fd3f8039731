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
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kubelet "k8s.io/kubelet/config/v1"
	"k8s.io/kubelet/config/v1alpha1"
	kjson "sigs.k8s.io/json"
	kyaml "sigs.k8s.io/yaml"
)

const kind = "CredentialProviderConfig"

// versions are the apiVersions that the kubelet reads, the one we write first
// (Kubernetes v1.37.0, pkg/credentialprovider/plugin/config.go, decode).
var versions = [...]string{
	kubelet.GroupName + "/v1",
	kubelet.GroupName + "/v1beta1",
	kubelet.GroupName + "/v1alpha1",
}

// A Fault is something in a file that keeps the kubelet from starting.
type Fault struct {
	File  string // "" where the caller gave no name
	Line  int    // 0 where it is not known
	Field string // such as "providers[0].matchImages", or "" for the file
	Text  string // the fault and what to do
}

// Error says where the fault is, what it is and what to do.
func (f *Fault) Error() string {
	s := f.Text
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
		f.File = file
		errs[i] = f
	}
	return errors.Join(errs...)
}

// A document is a file as the kubelet reads it.
type document struct {
	config kubelet.CredentialProviderConfig
	tree   *yaml.Node // the first YAML document's root, for places; may be nil
}

// decode reads data as the kubelet does (plugin.go, codecs, a strict decoder):
// what begins with "{" is JSON, all else is YAML 1.1, of which the first
// document counts. It calls the packages below the codec rather than the
// codec, which is a scheme and four more formats. Where faults are found, the
// document holds what could be read.
func decode(data []byte) (document, []*Fault) {
	var doc document
	if !utf8.Valid(data) {
		return doc, []*Fault{{Text: "the file is not UTF-8; save it as UTF-8"}}
	}
	var parsed yaml.Node
	if err := yaml.Unmarshal(data, &parsed); err == nil && len(parsed.Content) == 1 {
		doc.tree = parsed.Content[0]
	}
	text, faults := data, []*Fault(nil)
	if !isJSON(data) {
		var err error
		if text, err = kyaml.YAMLToJSON(data); err != nil {
			return doc, yamlFaults(err)
		}
		if _, err = kyaml.YAMLToJSONStrict(data); err != nil {
			faults = yamlFaults(err)
		}
	}
	if fault := doc.checkType(text); fault != nil {
		return doc, append(faults, fault)
	}
	return doc, append(faults, doc.decodeProviders(text)...)
}

// isJSON is how the kubelet tells JSON from YAML (k8s.io/apimachinery v0.37.2,
// pkg/util/yaml, IsJSONBuffer).
func isJSON(data []byte) bool {
	return bytes.HasPrefix(bytes.TrimSpace(data), []byte("{"))
}

var yamlPlace = regexp.MustCompile(`line (\d+): ([^\n]*)`)

// yamlFaults splits the error of a YAML reader, which may name many lines.
func yamlFaults(err error) []*Fault {
	var faults []*Fault
	for _, m := range yamlPlace.FindAllStringSubmatch(err.Error(), -1) {
		line, _ := strconv.Atoi(m[1])
		faults = append(faults, &Fault{Line: line, Text: m[2] + "; mend the YAML here"})
	}
	if faults == nil {
		faults = []*Fault{{Text: strings.TrimPrefix(err.Error(), "yaml: ") + "; mend the YAML"}}
	}
	return faults
}

// checkType asks for the kind and the apiVersion.
func (d *document) checkType(text []byte) *Fault {
	var head metav1.TypeMeta
	err := kjson.UnmarshalCaseSensitivePreserveInts(text, &head)
	if ok, _ := kjson.SyntaxErrorOffset(err); ok {
		return &Fault{Text: fmt.Sprintf("the file begins as JSON and is not: %v; mend the JSON, or write block YAML", err)}
	}
	if err != nil || head == (metav1.TypeMeta{}) {
		return &Fault{Text: fmt.Sprintf("the file is no %s; begin it with \"apiVersion: %s\" and \"kind: %s\"", kind, versions[0], kind)}
	}
	if head.Kind != kind {
		return &Fault{Line: d.line("kind"), Field: "kind", Text: fmt.Sprintf("%q is not what the kubelet reads here; write \"kind: %s\"", head.Kind, kind)}
	}
	for _, v := range versions {
		if head.APIVersion == v {
			d.config.TypeMeta = head
			return nil
		}
	}
	return &Fault{Line: d.line("apiVersion"), Field: "apiVersion", Text: fmt.Sprintf("%q is not what the kubelet reads here; write \"apiVersion: %s\"", head.APIVersion, versions[0])}
}

// decodeProviders fills the config and reports unknown fields, duplicate ones,
// and values of the wrong type.
func (d *document) decodeProviders(text []byte) []*Fault {
	// Strictness is that of the version's own type. v1beta1's lives in a
	// package that brings half of Kubernetes; its fields are v1alpha1's.
	var into any = &v1alpha1.CredentialProviderConfig{}
	if d.config.APIVersion == versions[0] {
		into = &kubelet.CredentialProviderConfig{}
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
		fault := &Fault{Text: err.Error() + "; take it out"}
		if at, ok := err.(kjson.FieldError); ok {
			what := strings.TrimSuffix(err.Error(), " "+strconv.Quote(at.FieldPath()))
			fault = &Fault{Line: d.line(at.FieldPath()), Field: at.FieldPath()}
			fault.Text = fmt.Sprintf("%s in %s; take it out or mend its spelling", what, d.config.APIVersion)
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
				if kjson.UnmarshalCaseSensitivePreserveInts(one, &kubelet.CredentialProvider{}) != nil {
					field := fmt.Sprintf("providers[%d].%s", i, key)
					return &Fault{Line: d.line(field), Field: field, Text: "the value has the wrong type; " + typeHint(key)}
				}
			}
		}
	}
	return &Fault{Line: d.line("providers"), Field: "providers", Text: "the value has the wrong type; write a list of providers"}
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
// above it where there is none, and 0 where nothing is known.
func (d *document) line(field string) int {
	if d.tree == nil {
		return 0
	}
	node, line := d.tree, 0
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
