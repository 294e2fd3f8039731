package credential

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// Lookup returns the credential for an image from a provider's answer, and
// false if no key matches. It is the one that the kubelet would try first
// (Kubernetes v1.37.2, pkg/credentialprovider/keyring.go). A key is a
// [mirror.Pattern]; a scheme and a leading /v1/ or /v2/ do not count. Of
// several keys that match, the last in sorted order wins. The key
// index.docker.io counts for Docker Hub if no other key matches. If keys differ
// in nothing that counts, the kubelet takes any, and Lookup the first in sorted
// order.
//
// If the kubelet finds no key, Lookup tries again and treats the default port
// of the image's registry as no port (80 for plain http, else 443), because a
// provider may write its registry either way.
func Lookup(auth map[string]Credential, image string, plain bool) (Credential, bool) {
	list := ring(auth)
	for _, matches := range []func(e ringEntry) bool{
		func(e ringEntry) bool { return e.key.Matches(image) },
		func(e ringEntry) bool { return e.key.MatchesRegistry(image, plain) },
		func(e ringEntry) bool { return e.isHub() && isHub(image) },
	} {
		if i := slices.IndexFunc(list, matches); i >= 0 {
			return auth[list[i].written], true
		}
	}
	return Credential{}, false
}

// Attempts returns the credentials that the kubelet tries for an image, in its
// order, from the answers of all providers that it ran, in their order
// (Kubernetes v1.37.2, pkg/credentialprovider/keyring.go, Lookup). The zero
// Credential among them is an attempt without one; an empty list means that the
// only attempt is without one. A credential that is there twice is tried once.
func Attempts(answers []map[string]Credential, image string) []Credential {
	type attempt struct {
		ringEntry
		Credential
	}
	var all []attempt
	for _, auth := range answers {
		for _, e := range ring(auth) {
			all = append(all, attempt{e, auth[e.written]})
		}
	}
	slices.SortStableFunc(all, func(a, b attempt) int { return cmp.Compare(b.key.String(), a.key.String()) })
	for _, matches := range []func(e ringEntry) bool{
		func(e ringEntry) bool { return e.key.Matches(image) },
		func(e ringEntry) bool { return e.isHub() && isHub(image) },
	} {
		var list []Credential
		for _, a := range all {
			if matches(a.ringEntry) && !slices.Contains(list, a.Credential) {
				list = append(list, a.Credential)
			}
		}
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

// A ringEntry is a key of a provider's answer.
type ringEntry struct {
	key     mirror.Pattern
	written string
}

// ring returns the keys that the kubelet can read, in its order.
func ring(auth map[string]Credential) []ringEntry {
	var list []ringEntry
	for written := range auth {
		if key, ok := ringKey(written); ok {
			list = append(list, ringEntry{key, written})
		}
	}
	slices.SortFunc(list, func(a, b ringEntry) int {
		return cmp.Or(cmp.Compare(b.key.String(), a.key.String()), cmp.Compare(a.written, b.written))
	})
	return list
}

// isHub reports whether the key is the kubelet's last resort for Docker Hub.
func (e ringEntry) isHub() bool {
	return strings.TrimSuffix(e.key.String(), ":443") == "index.docker.io"
}

// ringKey returns a key without what does not count (BasicDockerKeyring.Add),
// false if the kubelet ignores it.
func ringKey(written string) (mirror.Pattern, bool) {
	if !strings.HasPrefix(written, "https://") && !strings.HasPrefix(written, "http://") {
		written = "https://" + written
	}
	u, err := url.Parse(written)
	if err != nil {
		return mirror.Pattern{}, false
	}
	p := u.Path
	if strings.HasPrefix(p, "/v1/") || strings.HasPrefix(p, "/v2/") {
		p = p[len("/v1"):]
	}
	if p == "/" {
		p = ""
	}
	key, err := mirror.KubeletPattern(u.Host + p)
	return key, err == nil
}

// isHub is isDefaultRegistryMatch.
func isHub(image string) bool {
	first, _, more := strings.Cut(image, "/")
	switch {
	case first == "":
		return false
	case !more, first == "docker.io", first == "index.docker.io":
		return true
	}
	return !strings.ContainsAny(first, ".:")
}
