package mirror

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/pelletier/go-toml/v2/unstable"
)

// The bounds of ready: a mirror on the node itself answers within a second of its
// start, and an hour is more than any node takes to get its pods.
const (
	leastReady = time.Second
	mostReady  = time.Hour
)

// ready reads how long a mirror waits for its first target.
func (r *reader) ready() time.Duration {
	v := r.get("ready")
	switch {
	case v == nil:
		return 0
	case v.kind == unstable.Integer:
		r.add(v.line, "ready of %s is a number, without a unit; write for example \"60s\"", r.what)
		return 0
	case v.kind != unstable.String:
		r.add(v.line, "ready of %s is %s; write a duration, like \"60s\" or \"5m\"", r.what, v.what())
		return 0
	}
	text := v.text
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		r.add(r.at("ready"), "ready of %s: %q is not a duration; write it like \"60s\" or \"5m\"", r.what, text)
	case d < leastReady, d > mostReady:
		r.add(r.at("ready"), "ready of %s: %q is not between 1s and 1h; write for example \"60s\", or remove the key to turn the mirror on at once", r.what, text)
	default:
		return d
	}
	return 0
}

// checkReady refuses a mirror that would wait for its own source.
func (p *parser) checkReady(r *reader, m Mirror) {
	if m.Ready > 0 && len(m.Targets) > 0 && m.Targets[0].self {
		p.add(r.at("ready"), "mirror of %q: ready waits for the first target, which is the source itself; name another target first, or remove ready", m.Source)
	}
}

// ReadyKey identifies what a mirror with [Mirror.Ready] waits for: its source, its first
// target and the time. If one of them changes, it waits anew.
func (m Mirror) ReadyKey() string {
	t := m.Targets[0]
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s://%s%s\n%s\n", m.Source, t.scheme, t.host, t.API(), m.Ready))
	return hex.EncodeToString(sum[:16])
}
