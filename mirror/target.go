package mirror

import (
	"errors"
	"fmt"
	"strings"
)

// A Source is the registry host that images name: containerd routes by it
// alone. The source "*" stands for every registry without a mirror of its own.
// The zero Source is invalid. Sources are comparable.
type Source struct{ name string }

// ParseSource returns the source that s names. Case and the port 443 are
// folded, and index.docker.io is docker.io.
func ParseSource(s string) (Source, error) {
	if s == "*" {
		return Source{"*"}, nil
	}
	h, err := ParseHost(s)
	if err != nil {
		if _, _, hasPath := strings.Cut(s, "/"); hasPath && !strings.Contains(s, "://") && !strings.Contains(s, "@") {
			host, _, _ := strings.Cut(s, "/")
			return Source{}, fmt.Errorf("a source has no path, containerd routes by host alone; write %q", host)
		}
		return Source{}, err
	}
	h = h.withoutPort("443")
	if h.name == dockerHubAlias {
		h.name = dockerHub
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

// server returns the host that serves s where it has no mirror.
func (s Source) server() Host {
	if s.name == dockerHub {
		return Host{dockerHubServer}
	}
	return s.Host()
}

// A Target is a registry that serves a source: where it is, what containerd
// has to know to reach it, and which credential it asks for.
type Target struct {
	scheme string // "https" or "http"
	host   Host   // without the scheme's default port; the zero Host for "*"
	base   string // what stands in front of /v2, such as "/repository/hub"
	prefix string // repository prefix, such as "dockerhub"
	self   bool

	// Settings are those of the target's registry and of its mirror.
	Settings Settings
	// Credential is the name of the credential that the target asks for, ""
	// where it is anonymous.
	Credential string
	// Below are the credentials of repositories below the target's prefix
	// that differ from Credential, the longest prefix first.
	Below []PathCredential
}

// A PathCredential is the credential of all repositories below a prefix.
type PathCredential struct {
	Prefix     string // of the repository at the target
	Credential string // "" for anonymous
}

// ParseTarget returns the target that s names: host[:port][/prefix], or an
// http or https URL with the prefix below /v2 or without /v2. A URL that ends
// in /v2 has what stands before it in front of the registry's API.
func ParseTarget(s string) (Target, error) {
	scheme, rest, hasScheme := strings.Cut(s, "://")
	if !hasScheme {
		scheme, rest = "https", s
	}
	scheme = strings.ToLower(scheme)
	if scheme != "https" && scheme != "http" {
		return Target{}, fmt.Errorf("scheme %q is none that a registry has; write https:// or http://", scheme)
	}
	if strings.ContainsAny(rest, "?#") {
		return Target{}, errors.New("a target has no query and no fragment; leave out what begins with \"?\" or \"#\"")
	}
	name, path, _ := strings.Cut(rest, "/")
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
	return t, CheckRepository(t.prefix)
}

// checkBase checks what stands in front of /v2: it is a path of a web server,
// not of a repository, so that upper case is fine.
func checkBase(base string) error {
	for part := range strings.SplitSeq(base, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("path %q has an empty or a dotted part", "/"+base)
		}
		for i := range len(part) {
			if !isAlnum(part[i]) && !strings.ContainsRune("-._~", rune(part[i])) {
				return fmt.Errorf("path %q: %q cannot stand in it", "/"+base, string(part[i]))
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

// Prefix returns the repository prefix, or "".
func (t Target) Prefix() string { return t.prefix }

// Self reports whether the target is the source itself, so that containerd
// falls back to it.
func (t Target) Self() bool { return t.self }

// API returns the path of the registry's API with the prefix, which is "/v2"
// for a target without a path.
func (t Target) API() string {
	api := t.base + "/v2"
	if t.prefix != "" {
		api += "/" + t.prefix
	}
	return api
}

// Repository returns the repository under which the target serves repository.
func (t Target) Repository(repository string) string {
	if t.prefix == "" {
		return repository
	}
	return t.prefix + "/" + repository
}

// String returns the target as it is said shortest: a host and a prefix, with
// the scheme where it is not https or needed to tell.
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

// CredentialFor returns the name of the credential that the target asks for
// one of its repositories, the prefix included; "" where it is anonymous.
func (t Target) CredentialFor(repository string) string {
	for _, below := range t.Below {
		if isBelow(repository, below.Prefix) {
			return below.Credential
		}
	}
	return t.Credential
}
