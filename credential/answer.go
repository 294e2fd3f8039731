package credential

import (
	"slices"
	"strconv"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Answer returns the response with which the kubelet tries the credentials for
// an image in their order. A zero [Credential] means an anonymous attempt, and
// gets a key only if there are others. nil keeps the place of a credential that
// another of mirrorcred's providers returns, so that the order holds across
// both. The kubelet must not cache the answer, because its cache cannot be
// invalidated when the map changes.
//
// All keys match the image. The kubelet tries a longer key before a shorter one
// (k8s.io/kubernetes v1.36.3, pkg/credentialprovider/keyring.go: keys are
// sorted in reverse, and the path of a key is a plain prefix of the image's).
func Answer(image mirror.Image, credentials []*Credential) Response {
	last := max(0, len(credentials)-1)
	return AnswerAround(image, credentials[:last], credentials[last:])
}

// AnswerAround is [Answer] for a list in which one of mirrorcred's providers cannot
// know how many credentials another returns: a pod may have several logins for one
// registry. first ends with these, and its keys count from the longest down; rest
// comes after them, and its keys count from the shortest up.
func AnswerAround(image mirror.Image, first, rest []*Credential) Response {
	r := Response{CacheKey: CacheByImage}
	shared := slices.Contains(first, nil) || slices.Contains(rest, nil)
	seen := map[[2]string]bool{}
	first, rest = distinct(first, seen, shared), distinct(rest, seen, shared)
	n := len(first) + len(rest)
	if list := slices.Concat(first, rest); n == 1 && list[0] != nil && list[0].Anonymous() {
		return r
	}
	if n == len(first) && !shared {
		first, rest = first[:max(0, n-1)], first[max(0, n-1):]
	}
	add := func(i, n int, c *Credential) {
		if c == nil {
			return
		}
		if r.Auth == nil {
			r.Auth = make(map[string]Credential, n)
		}
		r.Auth[key(image, i, n)] = *c
	}
	for i, c := range first {
		add(i, max(n, i+2), c)
	}
	// As many places lie between that the last of rest has the host, the one before it
	// the host and one character, and so on.
	size := max(n, len(image.Repository())+1)
	for i, c := range rest {
		add(size-len(rest)+i, size, c)
	}
	return r
}

// Empty returns the response with which the kubelet tries an image without a credential,
// after the pod's pull secrets if there are any. Without it, a pod with pull secrets has
// no such attempt.
func Empty(image mirror.Image) Response {
	return Response{CacheKey: CacheByImage, Auth: map[string]Credential{image.Host(): {}}}
}

// distinct returns the credentials that were not seen before. If another provider
// returns some of them, each keeps its place.
func distinct(credentials []*Credential, seen map[[2]string]bool, shared bool) []*Credential {
	var list []*Credential
	for _, c := range credentials {
		if c != nil {
			k := [2]string{c.Username, c.Password.Reveal()}
			if seen[k] {
				c = nil
			}
			seen[k] = true
		}
		if c != nil || shared {
			list = append(list, c)
		}
	}
	return list
}

// key returns the key of credential i of n: the whole image, then the image less
// one character, and so on, and the host for the last one. An image with more
// credentials than its repository has characters gets keys with wildcards, too.
func key(image mirror.Image, i, n int) string {
	host, repository := image.Host(), image.Repository()
	if i >= len(repository) || i == n-1 {
		return hostKey(host, i-len(repository), n-1-i)
	}
	path := repository[:len(repository)-i]
	// The kubelet strips a leading /v1/ or /v2/ from a key's path.
	if strings.HasPrefix(path, "v1/") || strings.HasPrefix(path, "v2/") {
		path = "v2/" + path
	}
	return host + "/" + path
}

// hostKey returns a key that follows those with a path: there are so many before
// and after it. A key with wildcards behind its host matches the host as well. To
// the kubelet, "*" is less than "/" and ":", and more than nothing.
func hostKey(host string, before, after int) string {
	name, port, hasPort := strings.Cut(host, ":")
	switch {
	case strings.HasPrefix(host, "["):
		// No wildcard matches an IPv6 address. What is before "@" does not count: to
		// the kubelet, these keys are one, and it tries them in no certain order.
		if after > 0 {
			return strconv.Itoa(after) + "@" + host
		}
		return host
	case hasPort: // a.io:5000, a.io*:5000, a.io**:5000
		return name + strings.Repeat("*", max(0, before)) + ":" + port
	}
	return name + strings.Repeat("*", after) // a.io**, a.io*, a.io
}
