package route

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/mirrorcred/mirrorcred/credential/internal/jsontext"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// Encode returns the route as it is on disk: JSON with its own hash.
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

// append appends what json.Marshal makes of the route.
func (r Route) append(data []byte) ([]byte, error) {
	w := jsontext.New(data)
	w.Open('{')
	w.Text("source", r.Source)
	w.Text("hosts_dir", r.HostsDir)
	if len(r.Generations) > 0 {
		w.Key("generations")
		jsontext.List(w, r.Generations, writeGeneration)
	}
	w.TextUnlessEmpty("withdrawn", r.Withdrawn)
	if r.Direct != nil {
		w.Key("direct")
		writeCredential(w, *r.Direct)
	}
	w.Close('}')
	return w.Bytes()
}

func writeGeneration(w *jsontext.Writer, g Generation) {
	w.Open('{')
	w.Text("sha256", g.SHA256)
	w.Key("targets")
	jsontext.List(w, g.Targets, writeTarget)
	w.Close('}')
}

func writeTarget(w *jsontext.Writer, t Target) {
	w.Open('{')
	w.Text("registry", t.Registry)
	if t.Plain {
		w.Key("plain")
		w.Value(true)
	}
	w.TextUnlessEmpty("prefix", t.Prefix)
	writeCredentials(w, t.Credentials)
	if len(t.Below) > 0 {
		w.Key("below")
		jsontext.List(w, t.Below, writeBelow)
	}
	if t.Delivered {
		w.Key("delivered")
		w.Value(true)
	}
	if t.Realm {
		w.Key("realm")
		w.Value(true)
	}
	w.Close('}')
}

func writeBelow(w *jsontext.Writer, b Below) {
	w.Open('{')
	w.Text("prefix", b.Prefix)
	writeCredentials(w, b.Credentials)
	w.Close('}')
}

func writeCredentials(w *jsontext.Writer, list Credentials) {
	if len(list) == 0 {
		return
	}
	w.Key("credential")
	if len(list) == 1 {
		writeCredential(w, list[0])
		return
	}
	jsontext.List(w, list, writeCredential)
}

func writeCredential(w *jsontext.Writer, c mirror.Credential) {
	w.Open('{')
	w.Text("name", c.Name)
	w.Text("kind", string(c.Kind))
	w.TextUnlessEmpty("file", c.File)
	w.TextUnlessEmpty("command", c.Command)
	writeTexts(w, "args", c.Args)
	writeTexts(w, "env", c.Env)
	if c.Closed {
		w.Key("closed")
		w.Value(true)
	}
	if c.Timeout != 0 {
		w.Key("timeout")
		w.Value(c.Timeout)
	}
	w.TextUnlessEmpty("username", c.Username)
	if c.Token != nil {
		w.Key("token")
		w.Value(c.Token)
	}
	w.TextUnlessEmpty("client_id", c.ClientID)
	w.TextUnlessEmpty("tenant_id", c.TenantID)
	if c.Binding != nil {
		w.Key("binding")
		w.Value(c.Binding)
	}
	w.Close('}')
}

func writeTexts(w *jsontext.Writer, key string, list []string) {
	if len(list) > 0 {
		w.Key(key)
		jsontext.List(w, list, (*jsontext.Writer).Quoted)
	}
}
