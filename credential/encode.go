package credential

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Encode returns the route as it stands on disk: JSON with its own hash.
func (r Route) Encode() ([]byte, error) {
	const hashed, sized = `{"sha256":"`, 2 * sha256.Size
	data := make([]byte, 0, 512)
	data = append(data, hashed...)
	data = append(data, make([]byte, sized)...) // for the hash of what follows
	data = append(data, `","route":`...)
	start := len(data)
	data, err := r.append(data)
	if err != nil {
		return nil, fmt.Errorf("encode the route of %q: %w", r.Source, err)
	}
	sum := sha256.Sum256(data[start:])
	hex.Encode(data[len(hashed):], sum[:])
	return append(data, '}', '\n'), nil
}

// append appends what json.Marshal makes of the route. By hand: the manager
// compares thousands of routes with those on disk at each look at the node.
func (r Route) append(data []byte) ([]byte, error) {
	w := writer{data: data}
	w.open('{')
	w.text("source", r.Source)
	w.text("hosts_dir", r.HostsDir)
	if len(r.Generations) > 0 {
		w.key("generations")
		writeList(&w, r.Generations, (*writer).generation)
	}
	w.textUnlessEmpty("withdrawn", r.Withdrawn)
	w.credential("direct", r.Direct)
	w.close('}')
	return w.data, w.err
}

// A writer writes JSON.
type writer struct {
	data []byte
	err  error
}

func (w *writer) generation(g Generation) {
	w.open('{')
	w.text("sha256", g.SHA256)
	w.key("targets")
	writeList(w, g.Targets, (*writer).target)
	w.close('}')
}

func (w *writer) target(t RouteTarget) {
	w.open('{')
	w.text("registry", t.Registry)
	w.textUnlessEmpty("prefix", t.Prefix)
	w.credential("credential", t.Credential)
	if len(t.Below) > 0 {
		w.key("below")
		writeList(w, t.Below, (*writer).below)
	}
	w.close('}')
}

func (w *writer) below(b RouteBelow) {
	w.open('{')
	w.text("prefix", b.Prefix)
	w.credential("credential", b.Credential)
	w.close('}')
}

func (w *writer) credential(key string, c *mirror.Credential) {
	if c == nil {
		return
	}
	w.key(key)
	w.open('{')
	w.text("name", c.Name)
	w.text("kind", string(c.Kind))
	w.textUnlessEmpty("file", c.File)
	w.textUnlessEmpty("command", c.Command)
	w.texts("args", c.Args)
	w.texts("env", c.Env)
	w.textUnlessEmpty("username", c.Username)
	if c.Token != nil {
		w.key("token")
		w.value(c.Token)
	}
	w.textUnlessEmpty("client_id", c.ClientID)
	w.textUnlessEmpty("tenant_id", c.TenantID)
	if c.Binding != nil {
		w.key("binding")
		w.value(c.Binding)
	}
	w.close('}')
}

func (w *writer) texts(key string, list []string) {
	if len(list) > 0 {
		w.key(key)
		writeList(w, list, (*writer).quoted)
	}
}

// writeList writes null for a list that is nil, as package json does.
func writeList[T any](w *writer, list []T, write func(*writer, T)) {
	if list == nil {
		w.data = append(w.data, "null"...)
		return
	}
	w.open('[')
	for i, one := range list {
		if i > 0 {
			w.data = append(w.data, ',')
		}
		write(w, one)
	}
	w.close(']')
}

func (w *writer) open(bracket byte) { w.data = append(w.data, bracket) }

func (w *writer) close(bracket byte) { w.data = append(w.data, bracket) }

func (w *writer) key(key string) {
	if w.data[len(w.data)-1] != '{' {
		w.data = append(w.data, ',')
	}
	w.quoted(key)
	w.data = append(w.data, ':')
}

func (w *writer) text(key, s string) {
	w.key(key)
	w.quoted(s)
}

func (w *writer) textUnlessEmpty(key, s string) {
	if s != "" {
		w.text(key, s)
	}
}

// quoted writes a string. What has to be escaped in JSON, or is by package
// json, is rare here and left to it.
func (w *writer) quoted(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			w.value(s)
			return
		}
	}
	w.data = append(w.data, '"')
	w.data = append(w.data, s...)
	w.data = append(w.data, '"')
}

// value writes what is rare.
func (w *writer) value(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		w.err = err
	}
	w.data = append(w.data, text...)
}
