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
	r := Response{CacheKey: CacheByImage}
	list := distinct(credentials)
	if len(list) == 1 && list[0] != nil && list[0].Anonymous() {
		return r
	}
	for i, c := range list {
		if c == nil {
			continue
		}
		if r.Auth == nil {
			r.Auth = make(map[string]Credential, len(list))
		}
		r.Auth[key(image, i, len(list))] = *c
	}
	return r
}

// distinct returns the credentials without repetitions. If another provider
// returns some of them, each keeps its place.
func distinct(credentials []*Credential) []*Credential {
	var list []*Credential
	seen := map[[2]string]bool{}
	shared := slices.Contains(credentials, nil)
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
