package credential

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Route is what the plugin may answer for the images of one source. The
// manager writes it; the plugin reads it at each run.
type Route struct {
	// Source is the source as the map names it; "*" for every host without
	// a route of its own.
	Source string `json:"source"`
	// HostsDir is the directory that containerd reads hosts.toml files in.
	HostsDir string `json:"hosts_dir"`
	// Generations are the hosts.toml files that were rendered for the
	// source and not yet forgotten, and what may be answered under each.
	Generations []Generation `json:"generations,omitempty"`
	// Withdrawn says why nothing may be answered any more, "" where
	// something may.
	Withdrawn string `json:"withdrawn,omitempty"`
	// Direct is the credential of ACR login servers that have no route of
	// their own; only the route of "*" has it.
	Direct *mirror.Credential `json:"direct,omitempty"`
}

// A Generation is one rendered hosts.toml and the targets in it.
type Generation struct {
	SHA256  string        `json:"sha256"` // of the whole file, in hexadecimal
	Targets []RouteTarget `json:"targets"`
}

// A RouteTarget is a registry that containerd may ask, and what it is offered.
type RouteTarget struct {
	Registry string `json:"registry"`         // host[:port]
	Prefix   string `json:"prefix,omitempty"` // of the repository
	// Credential is nil where the target is anonymous.
	Credential *mirror.Credential `json:"credential,omitempty"`
	// Below are repositories at the target with another credential, the
	// longest prefix first.
	Below []RouteBelow `json:"below,omitempty"`
}

// A RouteBelow is the credential of the repositories below a prefix.
type RouteBelow struct {
	Prefix     string             `json:"prefix"`
	Credential *mirror.Credential `json:"credential,omitempty"`
}

// NewGeneration returns the generation of a mirror whose hosts.toml has the
// given hash.
func NewGeneration(m *mirror.Map, one mirror.Mirror, hash string) Generation {
	g := Generation{SHA256: hash, Targets: make([]RouteTarget, len(one.Targets))}
	named := func(name string) *mirror.Credential {
		if c, ok := m.Credential(name); ok {
			return &c
		}
		return nil
	}
	for i, t := range one.Targets {
		g.Targets[i] = RouteTarget{t.Host().String(), t.Prefix(), named(t.Credential), nil}
		for _, below := range t.Below {
			g.Targets[i].Below = append(g.Targets[i].Below, RouteBelow{below.Prefix, named(below.Credential)})
		}
	}
	return g
}

// Anonymous reports whether no target of g asks for a credential.
func (g Generation) Anonymous() bool {
	for _, t := range g.Targets {
		if t.Credential != nil {
			return false
		}
		for _, below := range t.Below {
			if below.Credential != nil {
				return false
			}
		}
	}
	return true
}

// sealed is a route on disk: a file that was cut short or changed is not
// taken for one.
type sealed struct {
	SHA256 string          `json:"sha256"` // of the bytes of route
	Route  json.RawMessage `json:"route"`
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// DecodeRoute parses a route that [Route.Encode] made, and refuses one that is
// not the same to the last byte. The hash alone would not do: it says nothing
// of the bytes around the route.
func DecodeRoute(data []byte) (Route, error) {
	errTorn := errors.New("it is cut short or was changed; run \"mirrorcred apply\"")
	var s sealed
	if err := json.Unmarshal(data, &s); err != nil || s.SHA256 != hashOf(s.Route) {
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

// InForce is what containerd would read for a host at this moment.
type InForce struct {
	// Namespace is the directory that it picks, "" where there is none.
	Namespace string
	// Hosts is the hosts.toml in it; nil where there is none.
	Hosts []byte
}

// An Offer is one credential to get for an image: that of a registry that
// containerd may ask for it. Credential is nil where the registry is
// anonymous.
type Offer struct {
	Ask        Ask
	Credential *mirror.Credential
}

// Offers returns what may be answered for an image under a route, in the order
// of the targets, the anonymous attempt once; none where nothing of ours is at
// stake. own is the namespace
// that is generated for the route's source, and the error says why there is no
// answer although the source is ours.
func (r Route) Offers(image mirror.Image, own string, now InForce) ([]Offer, error) {
	if r.Withdrawn != "" {
		return nil, fmt.Errorf("%q: %s", image.Host(), r.Withdrawn)
	}
	if len(r.Generations) == 0 || r.Source == "*" && now.Namespace != "" && now.Namespace != own {
		return r.direct(image, now)
	}
	if g, ok := r.generation(now); ok && now.Namespace == own {
		return g.offers(image)
	}
	anonymous := true
	for _, g := range r.Generations {
		anonymous = anonymous && g.Anonymous()
	}
	if anonymous {
		return nil, nil
	}
	return nil, r.notInForce(own, now)
}

// generation returns the generation whose bytes are in force.
func (r Route) generation(now InForce) (Generation, bool) {
	if len(now.Hosts) == 0 {
		return Generation{}, false
	}
	hash := hashOf(now.Hosts)
	for _, g := range r.Generations {
		if g.SHA256 == hash {
			return g, true
		}
	}
	return Generation{}, false
}

// Rendered reports whether the bytes in force are those of a generation of r.
func (r Route) Rendered(now InForce) bool {
	_, ok := r.generation(now)
	return ok
}

// direct answers for a host that the map does not name, where containerd asks
// that host itself.
func (r Route) direct(image mirror.Image, now InForce) ([]Offer, error) {
	host, ok := LoginServer(image)
	if !ok || r.Direct == nil {
		return nil, nil
	}
	if now.Namespace != "" {
		return nil, fmt.Errorf("%s/%s/hosts.toml sends %q elsewhere and is not in the mirror map; name it there as [registry.%q] or as a source, or remove the directory", r.HostsDir, now.Namespace, image.Host(), image.Host())
	}
	return []Offer{{Ask{Registry: host, Image: image.Name()}, r.Direct}}, nil
}

// LoginServer returns an image's host where it is an ACR login server. A host
// in upper case is none: the kubelet would not match the answer.
func LoginServer(image mirror.Image) (mirror.Host, bool) {
	host, err := mirror.ParseHost(image.Host())
	if err != nil || host.String() != image.Host() {
		return mirror.Host{}, false
	}
	_, ok := host.ACRSuffix()
	return host, ok
}

func (g Generation) offers(image mirror.Image) ([]Offer, error) {
	if g.Anonymous() {
		return nil, nil
	}
	var offers []Offer
	anonymous := false // whether there is an attempt without a credential
	for _, t := range g.Targets {
		repository := strings.TrimPrefix(t.Prefix+"/"+image.Repository(), "/")
		c := t.credentialFor(repository)
		if c == nil && anonymous {
			continue
		}
		anonymous = anonymous || c == nil
		if t.Registry == "" { // the source itself, in the mirror of "*"
			offers = append(offers, Offer{})
			continue
		}
		registry, err := mirror.ParseHost(t.Registry)
		if err != nil {
			return nil, fmt.Errorf("target %q of the route: %w", t.Registry, err)
		}
		offers = append(offers, Offer{Ask{Registry: registry, Image: t.Registry + "/" + repository}, c})
	}
	return offers, nil
}

func (t RouteTarget) credentialFor(repository string) *mirror.Credential {
	for _, below := range t.Below {
		if repository == below.Prefix || strings.HasPrefix(repository, below.Prefix+"/") {
			return below.Credential
		}
	}
	return t.Credential
}

// notInForce says why the hosts.toml in force is not one of the route's.
func (r Route) notInForce(own string, now InForce) error {
	path := r.HostsDir + "/" + own + "/hosts.toml"
	switch {
	case now.Namespace == "":
		return fmt.Errorf("%s is not there, so containerd asks the source itself; run \"mirrorcred apply\"", path)
	case now.Namespace != own:
		return fmt.Errorf("containerd reads %s/%s instead of %s; run \"mirrorcred apply\", or remove that directory", r.HostsDir, now.Namespace, path)
	case len(now.Hosts) == 0:
		return fmt.Errorf("%s is missing or empty, so containerd asks the source itself; run \"mirrorcred apply\"", path)
	}
	return fmt.Errorf("%s is not as mirrorcred wrote it; put it back with \"mirrorcred apply --adopt\", or take %q out of the mirror map", path, r.Source)
}
