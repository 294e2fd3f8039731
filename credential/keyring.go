package credential

import (
	"cmp"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Lookup returns the credential that the kubelet would try first for an image,
// out of a provider's answer, and false where no key matches. The rules are
// those of Kubernetes v1.37.0, pkg/credentialprovider/keyring.go: a key may
// have a scheme and a leading /v1/ or /v2/, which do not count; as many labels
// as the image's host, each of which may be a glob; an equal port, none being
// equal only to none; and a path that is a plain prefix, so that "a.io/team"
// matches "a.io/teamx/app". The key that sorts last wins, and index.docker.io
// answers for Docker Hub where no other does. Of keys that differ in nothing
// that counts the kubelet takes any; this takes the one that sorts first.
func Lookup(auth map[string]Credential, image string) (Credential, bool) {
	type entry struct{ key, written string }
	var list []entry
	for written := range auth {
		if key, ok := ringKey(written); ok {
			list = append(list, entry{key, written})
		}
	}
	slices.SortFunc(list, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.key, a.key), cmp.Compare(a.written, b.written))
	})
	for _, e := range list {
		if keyMatches(e.key, image) {
			return auth[e.written], true
		}
	}
	for _, e := range list {
		if e.key == "index.docker.io" && isHub(image) {
			return auth[e.written], true
		}
	}
	return Credential{}, false
}

// ringKey returns a key without what does not count (BasicDockerKeyring.Add);
// false for one that the kubelet ignores.
func ringKey(written string) (string, bool) {
	if !strings.HasPrefix(written, "https://") && !strings.HasPrefix(written, "http://") {
		written = "https://" + written
	}
	u, err := url.Parse(written)
	if err != nil {
		return "", false
	}
	p := u.Path
	if strings.HasPrefix(p, "/v1/") || strings.HasPrefix(p, "/v2/") {
		p = p[len("/v1"):]
	}
	if p == "/" {
		p = ""
	}
	return u.Host + p, true
}

// keyMatches is URLsMatchStr.
func keyMatches(key, image string) bool {
	k, err := url.Parse("https://" + key)
	if err != nil {
		return false
	}
	i, err := url.Parse("https://" + image)
	if err != nil {
		return false
	}
	globs, globPort := labels(k.Host)
	names, port := labels(i.Host)
	if globPort != port || len(globs) != len(names) || !strings.HasPrefix(i.Path, k.Path) {
		return false
	}
	for n, glob := range globs {
		// path.Match is filepath.Match of every system but Windows.
		if ok, err := path.Match(glob, names[n]); err != nil || !ok {
			return false
		}
	}
	return true
}

// labels returns a host's labels and its port (SplitURL). Brackets come off
// only where there is a port; left on, they are a glob's character class.
func labels(hostport string) ([]string, string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, ""
	}
	return strings.Split(host, "."), port
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
