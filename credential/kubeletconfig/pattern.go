package kubeletconfig

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// maxLabels is how many labels a host of [AnyHost] may have. The longest
// registry names in use, private endpoints of the large clouds, have nine.
const maxLabels = 16

// AnyHost returns the patterns that together match every image whose host has
// no port, up to 16 labels: a glob stands for one label and no more, and a
// pattern without a port matches no host with one (Kubernetes v1.37.0,
// pkg/credentialprovider/keyring.go, URLsMatch).
func AnyHost() []string {
	patterns := make([]string, maxLabels)
	for i := range patterns {
		patterns[i] = strings.Repeat("*.", i) + "*"
	}
	return patterns
}

// ACRHosts returns the patterns of Azure Container Registry's login servers in
// every cloud, global and regional, as AKS writes them (AgentBaker,
// parts/linux/cloud-init/artifacts/cse_config.sh,
// writeCredentialProviderConfig). A cloud with a suffix of its own needs one
// more.
func ACRHosts() []string {
	var patterns []string
	for _, labels := range []string{"*.", "*.*.geo."} {
		for _, suffix := range []string{"azurecr.io", "azurecr.cn", "azurecr.de", "azurecr.us"} {
			patterns = append(patterns, labels+suffix)
		}
	}
	return patterns
}

// Matches reports whether the kubelet runs a provider with this pattern for
// image, a normalised repository without tag or digest such as
// "docker.io/library/nginx" (Kubernetes v1.37.0,
// pkg/credentialprovider/keyring.go, URLsMatch): as many labels, each matched
// by its glob; equal ports, none being equal only to none; and the pattern's
// path a plain prefix, so that "a.io/team" matches "a.io/teamx/app". Case
// counts throughout.
func Matches(pattern, image string) bool {
	p, err := parseSchemeless(pattern)
	if err != nil {
		return false
	}
	i, err := parseSchemeless(image)
	if err != nil {
		return false
	}
	globs, globPort := splitHost(p.Host)
	labels, port := splitHost(i.Host)
	if globPort != port || len(globs) != len(labels) || !strings.HasPrefix(i.Path, p.Path) {
		return false
	}
	for n, glob := range globs {
		// path.Match is filepath.Match of every system but Windows.
		if ok, err := path.Match(glob, labels[n]); err != nil || !ok {
			return false
		}
	}
	return true
}

// parseSchemeless is all that the kubelet asks of a pattern before it starts
// (keyring.go, ParseSchemelessURL).
func parseSchemeless(s string) (*url.URL, error) { return url.Parse("https://" + s) }

// splitHost returns the labels and the port. Brackets are taken off only where
// there is a port; left on, they are read as a glob's character class.
func splitHost(hostport string) (labels []string, port string) {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		host, port = hostport, ""
	}
	return strings.Split(host, "."), port
}

// CheckPattern returns an error unless the kubelet would start with s among a
// provider's matchImages and s can match some image. The first is
// [parseSchemeless]; the second is the kubelet's matching (see [Matches]) held
// against the grammar of image names (github.com/distribution/reference
// v0.6.0, regexp.go and normalize.go). The error says what to write instead.
func CheckPattern(s string) error {
	if s == "" {
		return errors.New("a pattern is missing; write a host such as \"*.azurecr.io\"")
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return fmt.Errorf("pattern %q has a scheme and never matches; write %q", s, rest)
	}
	if strings.ContainsAny(s, "@#? \t\\%") {
		return fmt.Errorf("pattern %q holds a character that no image name has; write host[:port][/path], with \"*\" the only wildcard", s)
	}
	host, repository, hasPath := strings.Cut(s, "/")
	if err := checkPatternHost(s, host); err != nil {
		return err
	}
	if hasPath {
		if err := checkPatternPath(s, host, repository); err != nil {
			return err
		}
	}
	if _, err := parseSchemeless(s); err != nil {
		return fmt.Errorf("pattern %q does not parse and keeps the kubelet from starting; write host[:port][/path]", s)
	}
	return nil
}

func checkPatternHost(s, host string) error {
	name, port, hasPort := host, "", false
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port, hasPort = host[:i], host[i+1:], true
	}
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		return fmt.Errorf("pattern %q has port %q; write a number, since a port has no wildcard, and one pattern for each port", s, port)
	}
	if strings.HasPrefix(name, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		if err != nil || !strings.HasSuffix(name, "]") || !addr.Is6() || addr.Zone() != "" {
			return fmt.Errorf("pattern %q: %q is not an IPv6 address in brackets; write one such as \"[2001:db8::1]:5000\"", s, name)
		}
		if !hasPort {
			return fmt.Errorf("pattern %q is an IPv6 address without a port, which the kubelet never matches; name the registry by a host name, or with its port", s)
		}
		return nil
	}
	for label := range strings.SplitSeq(name, ".") {
		if !isGlobLabel(label) {
			return fmt.Errorf("pattern %q: %q is no label of a host; write letters, digits, inner hyphens and \"*\"", s, label)
		}
	}
	switch {
	case name == "index.docker.io" && !hasPort:
		return fmt.Errorf("pattern %q never matches, since the kubelet is given these images as docker.io's; write %q", s, "docker.io"+s[len(host):])
	case !hasPort && name != "localhost" && !strings.ContainsAny(name, ".*") && name == strings.ToLower(name):
		// Such a word is read as a Docker Hub user.
		return fmt.Errorf("pattern %q: an image name takes one word without a port for a path of docker.io; write the port, or \"docker.io/%s\"", s, name)
	}
	return nil
}

// isGlobLabel reports whether label, its stars filled in, can be a label of an
// image's host.
func isGlobLabel(label string) bool {
	for _, r := range label {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '*' {
			return false
		}
	}
	return label != "" && label[0] != '-' && label[len(label)-1] != '-'
}

func checkPatternPath(s, host, repository string) error {
	if before, _, ok := strings.Cut(repository, "*"); ok {
		return fmt.Errorf("pattern %q has a wildcard in its path and never matches; write %q, since a path matches whatever begins with it", s, strings.TrimSuffix(host+"/"+before, "/"))
	}
	if lower := strings.ToLower(repository); lower != repository {
		return fmt.Errorf("pattern %q never matches, since a repository is in lower case; write %q", s, host+"/"+lower)
	}
	// No more of the grammar: a prefix may end anywhere.
	bad := strings.IndexFunc(repository, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/", r)
	})
	if bad >= 0 || strings.HasPrefix(repository, "/") || strings.Contains(repository, "//") {
		return fmt.Errorf("pattern %q has a path that no repository begins with; write letters, digits, and single \".\", \"_\", \"-\" or \"/\" between them", s)
	}
	return nil
}
