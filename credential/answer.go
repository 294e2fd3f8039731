package credential

import (
	"slices"
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

// key returns the key of credential i of n: the host for the last one; before
// it the whole image, then the image less one character, and so on.
func key(image mirror.Image, i, n int) string {
	repository := image.Repository()
	if i == n-1 {
		return image.Host()
	}
	path := repository[:max(1, len(repository)-i)]
	// The kubelet strips a leading /v1/ or /v2/ from a key's path.
	if strings.HasPrefix(path, "v1/") || strings.HasPrefix(path, "v2/") {
		path = "v2/" + path
	}
	if spare := i - (len(repository) - 1); spare > 0 {
		s := spellings[spare%len(spellings)]
		return s.scheme + image.Host() + s.version + "/" + path
	}
	return image.Host() + "/" + path
}

// spellings are ways to write one key, for an image with more credentials than
// its repository has characters. The kubelet tries such keys too, in no certain
// order.
var spellings = [...]struct{ scheme, version string }{
	{"", ""}, {"https://", ""}, {"http://", ""}, {"", "/v2"}, {"https://", "/v2"},
	{"http://", "/v2"}, {"", "/v1"}, {"https://", "/v1"}, {"http://", "/v1"},
}
