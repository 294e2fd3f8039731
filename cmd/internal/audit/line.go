package audit

import (
	"math"
	"strconv"
	"time"
)

// A writer builds one line of JSON. Not encoding/json, which examines each type
// on first use: a program that writes one line would pay for that at every
// pull.
type writer struct{ line []byte }

// field begins a field; the first of an object has no comma before it.
func (w *writer) field(name string) {
	if last := w.line[len(w.line)-1]; last != '{' {
		w.line = append(w.line, ',')
	}
	w.line = append(append(append(w.line, '"'), name...), `":`...)
}

// text writes a field that is left out if it is empty. The text went through
// clip, so only quotes and backslashes need escaping.
func (w *writer) text(name, text string) {
	if text == "" {
		return
	}
	w.field(name)
	w.line = append(w.line, '"')
	for i := range len(text) {
		if text[i] == '"' || text[i] == '\\' {
			w.line = append(w.line, '\\')
		}
		w.line = append(w.line, text[i])
	}
	w.line = append(w.line, '"')
}

func (w *writer) took(d Took) {
	w.field("ms")
	w.line = strconv.AppendFloat(w.line, math.Round(time.Duration(d).Seconds()*1e5)/100, 'f', -1, 64)
}

// list writes a field that is a list of n objects, each by f.
func (w *writer) list(name string, n int, f func(int)) {
	if n == 0 {
		return
	}
	w.field(name)
	w.line = append(w.line, '[')
	for i := range n {
		if i > 0 {
			w.line = append(w.line, ',')
		}
		w.line = append(w.line, '{')
		f(i)
		w.line = append(w.line, '}')
	}
	w.line = append(w.line, ']')
}

// line returns the event as a line; its texts are cut already.
func (e Event) line() []byte {
	w := &writer{append(make([]byte, 0, 1<<10), '{')}
	w.text("time", e.Time.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	w.text("image", e.Image)
	w.text("source", e.Source)
	w.text("outcome", string(e.Outcome))
	w.text("code", string(e.Code))
	w.text("reason", e.Reason)
	w.list("targets", len(e.Targets), func(i int) { e.Targets[i].write(w) })
	w.took(e.Took)
	return append(w.line, "}\n"...)
}

func (t Target) write(w *writer) {
	w.text("target", t.Host)
	w.text("credential", t.Credential)
	w.text("identity", t.Identity)
	w.field("cached")
	w.line = strconv.AppendBool(w.line, t.Cached)
	w.list("steps", len(t.Steps), func(i int) {
		w.text("step", t.Steps[i].Name)
		w.took(t.Steps[i].Took)
	})
	w.text("failure", t.Failure)
	w.text("note", t.Note)
	w.took(t.Took)
}
