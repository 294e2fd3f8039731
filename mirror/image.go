package mirror

import (
	"errors"
	"fmt"
	"strings"
)

const (
	dockerHub       = "docker.io"
	dockerHubAlias  = "index.docker.io"
	dockerHubServer = "registry-1.docker.io"
)

// An Image is a reference to a container image, normalised as containerd and
// the kubelet do it (github.com/distribution/reference v0.6.0, normalize.go):
// "nginx" is docker.io/library/nginx. Its host is kept as it was spelled,
// since containerd looks for the directory of that spelling.
type Image struct{ host, repository, suffix string }

// ParseImage returns the image that s names: with or without a host, a tag and
// a digest, as a person types it or as the kubelet sends it.
func ParseImage(s string) (Image, error) {
	if s == "" {
		return Image{}, errors.New("the image has no name")
	}
	if strings.Contains(s, "://") {
		return Image{}, errors.New("an image name has no scheme; leave out \"https://\"")
	}
	if len(s) == 64 && isHex(s) {
		return Image{}, errors.New("64 hexadecimal digits are an image's ID, not its name")
	}
	name, suffix := cutSuffix(s)
	if err := checkSuffix(suffix); err != nil {
		return Image{}, err
	}
	host, repository := splitHost(name)
	if err := checkImageHost(host); err != nil && CheckRepository(host+"/"+repository) != nil {
		return Image{}, fmt.Errorf("host %q: %w", host, err)
	}
	if err := CheckRepository(repository); err != nil {
		return Image{}, err
	}
	return Image{host, repository, suffix}, nil
}

// cutSuffix cuts the tag and the digest off, their ":" and "@" kept.
func cutSuffix(s string) (name, suffix string) {
	name, _, hasDigest := strings.Cut(s, "@")
	tag := strings.LastIndexByte(name, ':')
	if tag > strings.LastIndexByte(name, '/') {
		name = name[:tag]
	} else if !hasDigest {
		return s, ""
	}
	return name, s[len(name):]
}

func checkSuffix(suffix string) error {
	tag, digest, hasDigest := strings.Cut(suffix, "@")
	if tag != "" && !isTag(tag[1:]) {
		return fmt.Errorf("invalid tag %q; a tag has at most 128 letters, digits, \"_\", \".\" and \"-\", and begins with none of the last two", tag[1:])
	}
	if hasDigest {
		algorithm, hex, _ := strings.Cut(digest, ":")
		if digits := digestDigits[algorithm]; digits == 0 || len(hex) != digits || !isHex(hex) {
			return fmt.Errorf("invalid digest %q; write \"sha256:\" and 64 hexadecimal digits", digest)
		}
	}
	return nil
}

// digestDigits are the lengths of the digests that the OCI image specification
// registers (v1.1, descriptor.md), and of sha384, which the library knows too.
var digestDigits = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

func isTag(s string) bool {
	if s == "" || len(s) > 128 || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && !strings.ContainsRune("_.-", rune(s[i])) {
			return false
		}
	}
	return true
}

// splitHost applies Docker's rules for names without a host.
func splitHost(name string) (host, repository string) {
	first, rest, ok := strings.Cut(name, "/")
	switch {
	case !ok:
		return dockerHub, "library/" + name
	case first == dockerHubAlias:
		first = dockerHub
	case first != "localhost" && !strings.ContainsAny(first, ".:") && strings.ToLower(first) == first:
		first, rest = dockerHub, name
	}
	if first == dockerHub && !strings.Contains(rest, "/") {
		rest = "library/" + rest
	}
	return first, rest
}

// checkImageHost checks a host as an image spells it against the grammar of
// image names, which allows more than [ParseHost]. An underscore, as in
// "a_b.io/x", is left out: the library takes all of that for a repository,
// although containerd pulls from a_b.io.
func checkImageHost(host string) error {
	hostname, port := host, "0"
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		hostname, port = host[:i], host[i+1:]
	}
	if port == "" || strings.Trim(port, "0123456789") != "" {
		return fmt.Errorf("port %q is not a number", port)
	}
	if inner, ok := strings.CutPrefix(hostname, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok || inner == "" || strings.Trim(inner, "0123456789abcdefABCDEF:") != "" {
			return errors.New("not an IPv6 address in brackets")
		}
		return nil
	}
	for label := range strings.SplitSeq(hostname, ".") {
		if err := checkLabelGrammar(label); err != nil {
			return err
		}
	}
	return nil
}

// CheckRepository returns an error if s is not the path of a repository, as the
// OCI distribution specification defines it (v1.1, "Pulling manifests").
func CheckRepository(s string) error {
	if s == "" {
		return errors.New("the repository is missing")
	}
	if len(s) > 255 {
		return errors.New("a repository has at most 255 characters")
	}
	for part := range strings.SplitSeq(s, "/") {
		if !isPathComponent(part) {
			if lower := strings.ToLower(s); lower != s && CheckRepository(lower) == nil {
				return fmt.Errorf("repository %q has upper case; write %q", s, strings.ToLower(s))
			}
			return fmt.Errorf("repository %q: invalid part %q; write lower-case letters and digits, joined by \".\", \"_\", \"__\" or hyphens", s, part)
		}
	}
	return nil
}

// isPathComponent matches [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*.
func isPathComponent(s string) bool {
	word := 0 // letters and digits since the last separator
	for i := 0; i < len(s); {
		if c := s[i]; 'a' <= c && c <= 'z' || '0' <= c && c <= '9' {
			word++
			i++
			continue
		}
		n := separator(s[i:])
		if n == 0 || word == 0 {
			return false
		}
		word = 0
		i += n
	}
	return word > 0
}

// separator returns the length of the separator at the start of s, or 0.
func separator(s string) int {
	switch {
	case s[0] == '.':
		return 1
	case strings.HasPrefix(s, "__"):
		return 2
	case s[0] == '_':
		return 1
	}
	return len(s) - len(strings.TrimLeft(s, "-"))
}

// Host returns the host as the image spells it, or docker.io if the image has no
// host.
func (i Image) Host() string { return i.host }

// Repository returns the path below the host, without tag and digest.
func (i Image) Repository() string { return i.repository }

// Name returns host and repository: what the kubelet sends to a plugin.
func (i Image) Name() string { return i.host + "/" + i.repository }

// String returns the whole normalised reference.
func (i Image) String() string { return i.Name() + i.suffix }
