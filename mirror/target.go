package mirror

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Source is the registry host that images name; containerd routes by it
// alone. The source "*" means every registry that has no mirror of its own. The
// zero Source is invalid. Sources are comparable.
type Source struct{ name string }

// ParseSource returns the source that s names, in lower case; index.docker.io
// is docker.io. A port stays as written, 443 too: containerd looks for the
// directory of a host as the image spells it, so "mcr.microsoft.com" and
// "mcr.microsoft.com:443" are two sources.
func ParseSource(s string) (Source, error) {
	if s == "*" {
		return Source{"*"}, nil
	}
	if err := errMore("a source", s); err != nil {
		return Source{}, err
	}
	h, err := ParseHost(s)
	if err != nil {
		if _, _, hasPath := strings.Cut(s, "/"); hasPath && !strings.Contains(s, "://") {
			return Source{}, insteadOf("a source has no path, because containerd routes by host alone", s)
		}
		return Source{}, err
	}
	if h.name == dockerHubAlias {
		h.name = dockerHub
	}
	// containerd looks for a directory as images spell their port.
	if _, port, err := splitPort(s); err == nil && port != "" && !strings.HasSuffix(s, ":"+port) {
		return Source{}, insteadOf("a port has no zero in front", h.name)
	}
	return Source(h), nil
}

// String returns the source as host[:port], or "*".
func (s Source) String() string { return s.name }

// Any reports whether s is "*".
func (s Source) Any() bool { return s.name == "*" }

// Host returns the source's host, and the zero Host for "*".
func (s Source) Host() Host {
	if s.Any() {
		return Host{}
	}
	return Host(s)
}

// Names reports whether the host of s is h, the registry of a target.
func (s Source) Names(h Host) bool {
	return !s.Any() && s.Host().withoutPort("443") == h
}

// server returns the host that serves s without a mirror.
func (s Source) server() Host {
	if s.name == dockerHub {
		return Host{dockerHubServer}
	}
	return s.Host().withoutPort("443")
}

// A Target is a registry that serves a source: where it is, what containerd
// needs to know to reach it, and which credential it needs.
type Target struct {
	scheme string // "https" or "http"
	host   Host   // without the scheme's default port; the zero Host for "*"
	base   string // what is in front of /v2, such as "/repository/hub"
	prefix string // repository prefix, such as "dockerhub"
	self   bool
	// anonymous says that the map writes so, and not only no credential.
	anonymous bool

	// Settings are those of the target's registry and of its mirror.
	Settings Settings
	// Credentials are the names of the target's credentials in the order in
	// which a pull tries them; nil if it is anonymous. The last one may be
	// [Anonymous].
	Credentials []string
	// Below are the credentials of repositories below the target's prefix that
	// differ from Credentials, the longest prefix first.
	Below []PathCredential
	// DeliverHosts says that the credential is in the target's own table of
	// hosts.toml, so that the plugin returns none for it. [Target.Delivery] has its key.
	DeliverHosts bool
	// TokenHost is a further host, beside the target's own, whose token realm may see
	// the credential that is in hosts.toml; "" for none.
	TokenHost string
	// Realm says that the registry accepts the credential in hosts.toml only at its token
	// realm, the service that it names in its challenge. No key of the map sets it:
	// "mirrorcred deliver" asks the registry.
	Realm bool

	lines map[string]int // of its registry's settings, by their keys
}

// Anonymous is written instead of a credential's name for a pull without a
// credential. No credential has this name.
const Anonymous = "anonymous"

// A PathCredential are the credentials of all repositories below a prefix.
type PathCredential struct {
	Prefix      string   // of the repository at the target
	Credentials []string // as in [Target]
}

// ParseTarget returns the target that s names: host[:port][/prefix], or an http
// or https URL with the prefix after /v2 or without /v2. In a URL that ends in
// /v2, the path before that is in front of the registry's API.
func ParseTarget(s string) (Target, error) {
	if err := errMore("a target", s); err != nil {
		return Target{}, err
	}
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		scheme, rest = "https", s
	}
	scheme = strings.ToLower(scheme)
	if scheme != "https" && scheme != "http" {
		return Target{}, fmt.Errorf("unknown scheme %q; write https:// or http://", scheme)
	}
	name, path, _ := strings.Cut(rest, "/")
	if strings.Contains(name, "*") {
		return Target{}, errors.New("a target must be one registry; write for example \"contoso.azurecr.io\"")
	}
	host, err := ParseHost(name)
	if err != nil {
		return Target{}, err
	}
	t := Target{scheme: scheme, host: host.withoutPort(defaultPort(scheme))}
	if scheme == "https" && (t.host.name == dockerHub || t.host.name == dockerHubAlias) {
		t.host.name = dockerHubServer
	}
	path = strings.TrimSuffix(path, "/")
	if base, ok := strings.CutSuffix(path, "/v2"); ok && hasScheme {
		t.base = "/" + base
		return t, checkBase(base)
	}
	if path == "v2" {
		path = ""
	}
	t.prefix = strings.TrimPrefix(path, "v2/")
	if t.prefix == "" {
		return t, nil
	}
	return t, checkPrefix(t, s[:len(s)-len(rest)]+name)
}

// checkPrefix checks a target's repository prefix. before is the part of the
// target up to the slash before the prefix.
func checkPrefix(t Target, before string) error {
	err := CheckRepository(t.prefix)
	if err == nil {
		return nil
	}
	write := func(prefix string) string {
		if prefix == "" {
			return before
		}
		return before + "/" + prefix
	}
	if prefix, _, ok := strings.Cut(t.prefix, ":"); ok && CheckRepository(prefix) == nil {
		return fmt.Errorf("a target has no tag; write %q", write(prefix))
	}
	if prefix, star := strings.CutSuffix(t.prefix, "*"); star {
		prefix = strings.TrimSuffix(prefix, "/")
		if prefix == "" || CheckRepository(prefix) == nil {
			return fmt.Errorf("a prefix needs no wildcard; write %q", write(prefix))
		}
	}
	return err
}

// checkBase checks the path in front of /v2. It is a path of a web server, not of
// a repository, so upper case is allowed.
func checkBase(base string) error {
	for part := range strings.SplitSeq(base, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("path %q has an empty part, \".\" or \"..\"; remove it", "/"+base)
		}
		for i := range len(part) {
			if !isAlnum(part[i]) && !strings.ContainsRune("-._~", rune(part[i])) {
				return fmt.Errorf("path %q: %q is not allowed; percent-encoding and other characters cannot be mirrored", "/"+base, string(part[i]))
			}
		}
	}
	return nil
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// Host returns the target's host, without the default port of its scheme.
func (t Target) Host() Host { return t.host }

// Scheme returns "https" or "http".
func (t Target) Scheme() string { return t.scheme }

// Prefix returns the repository prefix, or "" if there is none.
func (t Target) Prefix() string { return t.prefix }

// Self reports whether the target is the source itself, so that containerd
// falls back to it.
func (t Target) Self() bool { return t.self }

// API returns the path of the registry's API with the prefix: "/v2" for a
// target without a path.
func (t Target) API() string {
	api := t.base + "/v2"
	if t.prefix != "" {
		api += "/" + t.prefix
	}
	return api
}

// Repository returns the target's name for a repository of the source: with the
// prefix in front.
func (t Target) Repository(repository string) string {
	if t.prefix == "" {
		return repository
	}
	return t.prefix + "/" + repository
}

// String returns the target in its shortest form: a host and a prefix, and the
// scheme if it is not https or is needed to tell them apart.
func (t Target) String() string {
	switch {
	case t.host == Host{}:
		return "*"
	case t.base != "":
		return t.scheme + "://" + t.host.name + t.API()
	}
	s := t.Repository("")
	s = strings.TrimSuffix(t.host.name+"/"+s, "/")
	if t.scheme != "https" {
		s = t.scheme + "://" + s
	}
	return s
}

// address returns host:port, the port always there: what containerd keeps one
// authorizer for.
func (t Target) address() string {
	if t.host.Port() != "" {
		return t.host.name
	}
	return t.host.name + ":" + defaultPort(t.scheme)
}

// names returns how a [registry] table may name the target's host: by host and
// port, and without the port if it is the scheme's own.
func (t Target) names() []string {
	names := []string{t.address(), t.host.name}
	if t.scheme == "https" && t.host.name == dockerHubServer {
		names = append(names, dockerHub+":443", dockerHub)
	}
	return slices.Compact(names)
}

// Line returns the line of the map with a setting of the target's registry, by
// its key, such as "ca"; 0 if the map does not have it.
func (t Target) Line(key string) int { return t.lines[key] }

// CredentialsFor returns the names of the credentials that the plugin returns for one of
// the target's repositories, given with the prefix; see [Target.Credentials].
func (t Target) CredentialsFor(repository string) []string {
	if t.DeliverHosts {
		return nil
	}
	for _, below := range t.Below {
		if isBelow(repository, below.Prefix) {
			return below.Credentials
		}
	}
	return t.Credentials
}

// IsOpen reports whether a pull may get the target's repositories without a
// credential from the kubelet, as far as the map says.
func (t Target) IsOpen() bool {
	if t.DeliverHosts {
		return true
	}
	last := len(t.Credentials) - 1
	return last < 0 || t.Credentials[last] == Anonymous
}
