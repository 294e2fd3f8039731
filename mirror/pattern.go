package mirror

import (
	"net"
	"net/url"
	"path"
	"strings"
)

// A Pattern matches images the way the kubelet does (Kubernetes v1.37.2,
// pkg/credentialprovider/keyring.go, URLsMatch). A wildcard stays within one
// label of the host, so "*.io" matches "a.io" and not "a.b.io". The port is
// equal, and no port equals only no port. The path is a plain string prefix
// without a boundary, so "a.io/team" matches "a.io/teamx/app". Case counts.
//
// The zero Pattern is invalid and matches nothing. Patterns are comparable.
type Pattern struct{ text, host, port, path string }

// KubeletPattern returns s as the kubelet reads it in another provider's
// matchImages and in the keys of an answer: it accepts whatever it can parse,
// even what no image can match. For mirrorcred's own patterns use
// [ParsePattern]. The error means that the kubelet does not start with s.
func KubeletPattern(s string) (Pattern, error) {
	host, port, path, err := splitName(s)
	return Pattern{s, host, port, path}, err
}

// String returns the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Matches reports whether the kubelet matches p and an image. The image is a
// normalised repository such as "docker.io/library/nginx", without a tag or a
// digest.
func (p Pattern) Matches(image string) bool {
	host, port, path, err := splitName(image)
	return err == nil && p.text != "" && p.port == port && strings.HasPrefix(path, p.path) && matchLabels(p.host, host)
}

// MatchesHost reports whether the kubelet matches p and every image of a host.
func (p Pattern) MatchesHost(h Host) bool {
	name, port := h.Hostname(), h.Port()
	if port != "" {
		name = strings.Trim(name, "[]")
	}
	return p.text != "" && (p.path == "" || p.path == "/") && p.port == port && matchLabels(p.host, name)
}

// MatchesRegistry is [Pattern.Matches], except that the default port of the
// image's registry counts as no port: 80 if it uses plain http, and else 443.
func (p Pattern) MatchesRegistry(image string, plain bool) bool {
	host, port, path, err := splitName(image)
	return err == nil && p.isAt(host, port, plain) && strings.HasPrefix(path, p.path)
}

// Covers reports whether p, as the key of a credential, names a repository of a
// registry. This rule is mirrorcred's and stricter than the kubelet's: a path
// ends at a part of the repository, so "a.io/team" does not cover
// "a.io/teamx/app". For ports it has the rule of [Pattern.MatchesRegistry].
func (p Pattern) Covers(h Host, plain bool, repository string) bool {
	return p.isAt(h.Hostname(), h.Port(), plain) && isBelow(repository, strings.Trim(p.path, "/"))
}

// isAt reports whether p names a registry, by mirrorcred's rule for ports. An
// IPv6 address is itself, with a port or without.
func (p Pattern) isAt(host, port string, plain bool) bool {
	return p.text != "" && withDefaultPort(p.port, plain) == withDefaultPort(port, plain) &&
		(matchLabels(p.host, host) || strings.Trim(p.host, "[]") == strings.Trim(host, "[]"))
}

func withDefaultPort(port string, plain bool) string {
	switch {
	case port != "":
		return port
	case plain:
		return "80"
	}
	return "443"
}

// matchLabels matches a host's labels one by one.
func matchLabels(globs, labels string) bool {
	for {
		glob, moreGlobs, hasGlobs := strings.Cut(globs, ".")
		label, moreLabels, hasLabels := strings.Cut(labels, ".")
		if hasGlobs != hasLabels || !matchLabel(glob, label) {
			return false
		}
		if !hasGlobs {
			return true
		}
		globs, labels = moreGlobs, moreLabels
	}
}

func matchLabel(glob, label string) bool {
	switch {
	case glob == "*":
		return true
	case !strings.ContainsAny(glob, `*?[\`):
		return glob == label
	}
	// path.Match is filepath.Match on every system but Windows.
	ok, err := path.Match(glob, label)
	return ok && err == nil
}

// splitName splits a pattern or an image as the kubelet does, which has
// net/url parse it. Brackets come off an IPv6 address only if it has a port;
// left on, they are a glob's character class.
func splitName(s string) (host, port, path string, err error) {
	if isPlainName(s) {
		authority, _, _ := strings.Cut(s, "/")
		host, port, _ = strings.Cut(authority, ":")
		return host, port, s[len(authority):], nil
	}
	u, err := url.Parse("https://" + s)
	if err != nil {
		return "", "", "", err
	}
	host, port, err = net.SplitHostPort(u.Host)
	if err != nil {
		host, port = u.Host, ""
	}
	return host, port, u.Path, nil
}

// isPlainName reports whether a name can be split without net/url: it has no
// character that net/url treats specially, and at most a port's colon in its
// host. Nearly all names are like that, and a run matches thousands of them.
func isPlainName(s string) bool {
	colon, slash := -1, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '/':
			slash = true
		case c == ':' && !slash:
			if colon >= 0 {
				return false
			}
			colon = i
		case colon >= 0 && !slash && (c < '0' || c > '9'):
			return false
		case !isAlnum(c) && c != '.' && c != '-' && c != '_' && c != '*':
			return false
		}
	}
	return true
}
