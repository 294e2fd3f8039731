package kubeletconfig

import (
	"slices"
	"strings"
)

// A Reader reads the kubelet's files and remembers what it has read, so that it
// parses the same bytes only once: to plan a change, the same few files are read
// many times. It forgets nothing, so it should not live longer than the work it
// is used for. The zero Reader is ready to use, by one goroutine at a time; a nil
// one remembers nothing. [Read] and [Config] use a Reader once.
type Reader struct {
	documents map[string]*document // by their bytes
	merged    map[string][]byte    // the results of config, by what they were made of
}

// decode returns a file's document and the faults that decode found in it.
func (r *Reader) decode(data []byte) (*document, []*Fault) {
	if r == nil {
		doc := decode(data)
		return doc, doc.faults
	}
	doc, ok := r.documents[string(data)]
	if !ok {
		if r.documents == nil {
			r.documents = map[string]*document{}
		}
		doc = decode(data)
		r.documents[string(data)] = doc
	}
	return doc, slices.Clone(doc.faults)
}

// remembered returns what was kept under a key that [Desired.mergeKey] made; if there is
// nothing, it keeps what merge returns.
func (r *Reader) remembered(key string, merge func() ([]byte, error)) ([]byte, error) {
	if r == nil {
		return merge()
	}
	if data, ok := r.merged[key]; ok {
		return slices.Clone(data), nil
	}
	data, err := merge()
	if err != nil {
		return nil, err
	}
	if r.merged == nil {
		r.merged = map[string][]byte{}
	}
	r.merged[key] = slices.Clone(data)
	return data, nil
}

// mergeKey returns all that the result of config depends on, as text. For Stale
// that is what it returns for the providers that are there.
func (o Desired) mergeKey(old []byte) string {
	var key strings.Builder
	add := func(kind string, lines []string) {
		key.WriteString(kind)
		for _, line := range lines {
			key.WriteString(line)
			key.WriteByte('\n')
		}
	}
	for _, p := range o.Providers {
		add("\x00ours\x00", lines(p))
	}
	for _, p := range o.Shared {
		add("\x00shared\x00", lines(p))
	}
	doc, _ := o.reader.decode(old)
	for _, p := range doc.config.Providers {
		if o.Stale(p.Name) {
			add("\x00stale\x00", []string{p.Name})
		}
	}
	key.WriteString("\x00old\x00")
	key.Write(old)
	return key.String()
}
