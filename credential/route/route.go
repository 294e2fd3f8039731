// Package route decides which credentials the plugin may return for an image.
//
// The manager writes one [Route] for each source: the hosts.toml files that it
// rendered for the source, by their hash, and the credential of each registry
// in them. The plugin reads the route, and what containerd reads at that
// moment. [Decide] says what the plugin may return: nothing, unless those bytes
// are the ones that were rendered. That is the promise not to leak a
// credential, and one file keeps it: decide.go.
//
// The package is pure. It does not know where routes are on the disk, how to
// get a credential, or when a route is written.
package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"

	"github.com/mirrorcred/mirrorcred/hosts"
	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Route is what the plugin may return for the images of one source. The
// manager writes it; the plugin reads it at each run.
type Route struct {
	// Source is the source as the map names it; "*" for every host without its own
	// route.
	Source string `json:"source"`
	// HostsDir is the directory that containerd reads hosts.toml files in.
	HostsDir string `json:"hosts_dir"`
	// Generations are the hosts.toml files that were rendered for the
	// source and not yet forgotten, and what may be returned for each.
	Generations []Generation `json:"generations,omitempty"`
	// Withdrawn says why the plugin must no longer return anything; "" if it may.
	Withdrawn string `json:"withdrawn,omitempty"`
	// Direct is the credential of ACR login servers without their own route; only
	// the route of "*" has it.
	Direct *mirror.Credential `json:"direct,omitempty"`
}

// A Generation is one rendered hosts.toml and the targets in it.
type Generation struct {
	SHA256  string   `json:"sha256"` // of the whole file, in hexadecimal
	Targets []Target `json:"targets"`
}

// A Target is a registry that containerd may ask, and what it is offered.
type Target struct {
	Registry string `json:"registry"`         // host[:port], without the default port of its scheme
	Plain    bool   `json:"plain,omitempty"`  // http, not https
	Prefix   string `json:"prefix,omitempty"` // of the repository
	// Credentials are in the order in which a pull tries them.
	Credentials Credentials `json:"credential,omitempty"`
	// Below are repositories at the target with other credentials, the longest
	// prefix first.
	Below []Below `json:"below,omitempty"`
	// Delivered says that the target's credential is in hosts.toml, so that it
	// needs no attempt of its own.
	Delivered bool `json:"delivered,omitempty"`
	// Realm says that a credential that is in hosts.toml is accepted at the target's
	// token realm alone, and there only if the kubelet offers none.
	Realm bool `json:"realm,omitempty"`
}

// A Below are the credentials of the repositories below a prefix.
type Below struct {
	Prefix      string      `json:"prefix"`
	Credentials Credentials `json:"credential,omitempty"`
}

// NewGeneration returns the generation of a mirror whose hosts.toml has the
// given hash.
func NewGeneration(m *mirror.Map, one mirror.Mirror, hash string) Generation {
	g := Generation{SHA256: hash, Targets: make([]Target, len(one.Targets))}
	for i, t := range one.Targets {
		g.Targets[i] = Target{Registry: t.Host().String(), Plain: t.Scheme() == "http", Prefix: t.Prefix()}
		if t.DeliverHosts {
			g.Targets[i].Delivered, g.Targets[i].Realm = true, t.Realm
			continue
		}
		g.Targets[i].Credentials = newCredentials(m, t.Credentials)
		for _, below := range t.Below {
			g.Targets[i].Below = append(g.Targets[i].Below, Below{below.Prefix, newCredentials(m, below.Credentials)})
		}
	}
	return g
}

// Delivers reports whether the credential of any target is in hosts.toml.
func (r Route) Delivers() bool {
	return slices.ContainsFunc(r.Generations, func(g Generation) bool {
		return slices.ContainsFunc(g.Targets, func(t Target) bool { return t.Delivered })
	})
}

// Anonymous reports whether no target of g asks for a credential.
func (g Generation) Anonymous() bool {
	for _, t := range g.Targets {
		if t.NeedsCredential() {
			return false
		}
	}
	return true
}

// NeedsCredential reports whether the target has a credential for any of its repositories.
func (t Target) NeedsCredential() bool {
	return len(t.Credentials) > 0 || slices.ContainsFunc(t.Below, func(b Below) bool { return len(b.Credentials) > 0 })
}

// Expires reports whether each credential of g expires within hours, as those
// of ACR do.
func (g Generation) Expires() bool {
	for _, t := range g.Targets {
		// A repository below a prefix may have a credential of any kind.
		if len(t.Below) > 0 || slices.ContainsFunc(t.Credentials, lasts) {
			return false
		}
	}
	return true
}

// lasts reports whether a credential may be good for longer than some hours.
func lasts(c mirror.Credential) bool { return c.Name != mirror.Anonymous && c.Kind != mirror.Azure }

// sealed is a route on disk. If it was cut short or changed, it does not count.
type sealed struct {
	SHA256 string          `json:"sha256"` // of the bytes of route
	Route  json.RawMessage `json:"route"`
}

// Decode parses a route that [Route.Encode] made, and refuses one that is not
// the same to the last byte. The hash alone would not be enough: it does not
// cover the bytes around the route.
func Decode(data []byte) (Route, error) {
	errTorn := errors.New("it is cut short or was changed; run \"mirrorcred apply\"")
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil || s.SHA256 != hosts.Hash(s.Route) {
		return Route{}, errTorn
	}
	if whole, err := json.Marshal(s); err != nil || !bytes.Equal(append(whole, '\n'), data) {
		return Route{}, errTorn
	}
	decoder := json.NewDecoder(bytes.NewReader(s.Route))
	decoder.DisallowUnknownFields()
	var r Route
	if err := decoder.Decode(&r); err != nil {
		return Route{}, errors.New("it is from another version of mirrorcred; install the plugin and the manager of one version, and run \"mirrorcred apply\"")
	}
	return r, nil
}
