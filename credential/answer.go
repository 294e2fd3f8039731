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
	list := distinct(credentials, map[[2]string]bool{}, slices.Contains(credentials, nil))
	r := Response{CacheKey: CacheByImage}
	if len(list) == 1 && list[0] != nil && list[0].Anonymous() {
		return r
	}
	for i, c := range list {
		r.add(key(image, i, len(list)), c)
	}
	return r
}

// AnswerAround is [Answer] for a list in which one of mirrorcred's providers cannot
// know how many credentials another returns: a pod may have several logins for one
// registry. first ends with these, and its keys count from the longest down; rest
// comes after them, and its keys count from the last up. Each has [MostInOrder]
// credentials at most.
func AnswerAround(image mirror.Image, first, rest []*Credential) Response {
	if list := slices.Concat(first, rest); !slices.Contains(list, nil) {
		return Answer(image, list)
	}
	seen := map[[2]string]bool{}
	first, rest = distinct(first, seen, true), distinct(rest, seen, true)
	r := Response{CacheKey: CacheByImage}
	for i, c := range first[:min(len(first), places(image, len(rest)))] {
		r.add(keyBefore(image, i), c)
	}
	for i, c := range rest {
		r.add(keyAfter(image, len(rest)-1-i), c)
	}
	return r
}

// add adds a credential, unless another provider returns it.
func (r *Response) add(key string, c *Credential) {
	if c == nil {
		return
	}
	if r.Auth == nil {
		r.Auth = map[string]Credential{}
	}
	r.Auth[key] = *c
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

// MostInOrder is how many credentials of a list keep their order beside those of
// another provider.
const MostInOrder = 64

// places returns how many credentials can have keys before those of another provider,
// which has so many. Only an IPv6 address has few: no wildcard matches it.
func places(image mirror.Image, after int) int {
	if isIPv6(image.Host()) {
		return max(1, len(image.Repository())-max(0, after-1))
	}
	return MostInOrder
}

// keyBefore returns the key of credential i, however many come after it.
func keyBefore(image mirror.Image, i int) string {
	if over := i - len(image.Repository()); over >= 0 {
		return hostKey(image.Host(), over, 2*MostInOrder-i)
	}
	return pathKey(image, i)
}

// keyAfter returns a key that follows all of keyBefore, with so many after it.
func keyAfter(image mirror.Image, after int) string {
	if n := len(image.Repository()); after > 0 && isIPv6(image.Host()) {
		return pathKey(image, max(0, n-after))
	}
	return hostKey(image.Host(), 2*MostInOrder-after, after)
}

// key returns the key of credential i of n: the whole image, then the image less
// one character, and so on, and the host for the last one. An image with more
// credentials than its repository has characters gets keys with wildcards, too.
func key(image mirror.Image, i, n int) string {
	over := i - len(image.Repository())
	if over >= 0 || i == n-1 {
		return hostKey(image.Host(), over, n-1-i)
	}
	return pathKey(image, i)
}

// pathKey returns the image less so many characters of its repository.
func pathKey(image mirror.Image, less int) string {
	path := image.Repository()
	path = path[:len(path)-less]
	// The kubelet strips a leading /v1/ or /v2/ from a key's path.
	if strings.HasPrefix(path, "v1/") || strings.HasPrefix(path, "v2/") {
		path = "v2/" + path
	}
	return image.Host() + "/" + path
}

func isIPv6(host string) bool { return strings.HasPrefix(host, "[") }

// hostKey returns a key that follows those with a path: there are so many before
// and after it. A key with wildcards behind its host matches the host as well. To
// the kubelet, "*" is less than "/" and ":", and more than nothing.
func hostKey(host string, before, after int) string {
	name, port, hasPort := strings.Cut(host, ":")
	switch {
	case isIPv6(host):
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
