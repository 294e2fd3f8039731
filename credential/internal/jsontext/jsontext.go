// Package jsontext writes JSON by hand. Package encoding/json inspects the
// types first, which is too slow in two places: for the plugin's response,
// where it would be 4% of a run that fetches nothing, and for the manager's
// thousands of routes, which it compares with those on the disk at each pass.
package jsontext

import "encoding/json"

// A Writer writes JSON as package json does. Start with [New].
type Writer struct {
	data []byte
	err  error
}

// New returns a writer that appends to data.
func New(data []byte) *Writer { return &Writer{data: data} }

// Bytes returns what was written, and the error of the first value that could
// not be.
func (w *Writer) Bytes() ([]byte, error) { return w.data, w.err }

// List writes a list, with a function that writes each of its values; null for
// one that is nil, as package json does.
func List[T any](w *Writer, list []T, write func(*Writer, T)) {
	if list == nil {
		w.data = append(w.data, "null"...)
		return
	}
	w.Open('[')
	for i, one := range list {
		if i > 0 {
			w.data = append(w.data, ',')
		}
		write(w, one)
	}
	w.Close(']')
}

// Open opens an object or a list with its bracket.
func (w *Writer) Open(bracket byte) { w.data = append(w.data, bracket) }

// Close closes an object or a list with its bracket.
func (w *Writer) Close(bracket byte) { w.data = append(w.data, bracket) }

// Key writes a key, with the comma before it.
func (w *Writer) Key(key string) {
	if w.data[len(w.data)-1] != '{' {
		w.data = append(w.data, ',')
	}
	w.Quoted(key)
	w.data = append(w.data, ':')
}

// Text writes a key and its string.
func (w *Writer) Text(key, s string) {
	w.Key(key)
	w.Quoted(s)
}

// TextUnlessEmpty is [Writer.Text], and nothing for "".
func (w *Writer) TextUnlessEmpty(key, s string) {
	if s != "" {
		w.Text(key, s)
	}
}

// Quoted writes a string. If it needs escaping, which is rare here, package
// json does that.
func (w *Writer) Quoted(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			w.Value(s)
			return
		}
	}
	w.data = append(w.data, '"')
	w.data = append(w.data, s...)
	w.data = append(w.data, '"')
}

// Value writes what package json makes of v.
func (w *Writer) Value(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		w.err = err // of what cannot be JSON
	}
	w.data = append(w.data, text...)
}
