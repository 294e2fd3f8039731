package mirror

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// ParsePattern returns the pattern s. It rejects a pattern that keeps the
// kubelet from starting, and one that no image can match by the grammar of
// image names (github.com/distribution/reference v0.6.0, regexp.go and
// normalize.go). The error says what to write instead; it does not repeat s.
func ParsePattern(s string) (Pattern, error) {
	if s == "" {
		return Pattern{}, errors.New("a host is missing; write it like \"*.azurecr.io\"")
	}
	if isPlainHost(s) {
		return Pattern{text: s, host: s}, nil
	}
	if err := errMore("a pattern", s); err != nil {
		return Pattern{}, err
	}
	if _, rest, ok := strings.Cut(s, "://"); ok {
		return Pattern{}, fmt.Errorf("a pattern has no scheme; write %q", rest)
	}
	host, repository, hasPath := strings.Cut(s, "/")
	if err := checkPatternHost(host, s[len(host):]); err != nil {
		return Pattern{}, err
	}
	if hasPath {
		if err := checkPatternPath(host, repository); err != nil {
			return Pattern{}, err
		}
	}
	p, err := KubeletPattern(s)
	if err != nil || !p.Matches(anImage(host, repository)) {
		return Pattern{}, errors.New("no image can match it; write host[:port][/path], with \"*\" as the only wildcard")
	}
	return p, nil
}

// isPlainHost reports whether s is a host name in lower case with a dot and nothing
// else, which is a pattern. Nearly all of the thousands in a map are like that.
func isPlainHost(s string) bool {
	labels, start := 0, 0
	for i := range len(s) + 1 {
		switch {
		case i == len(s) || s[i] == '.':
			if i == start || s[start] == '-' || s[i-1] == '-' {
				return false
			}
			labels, start = labels+1, i+1
		case s[i] != '-' && (!isAlnum(s[i]) || 'A' <= s[i] && s[i] <= 'Z'):
			return false
		}
	}
	return labels > 1 && s != dockerHubAlias
}

// checkPatternHost checks the host of a pattern, behind which rest stands.
func checkPatternHost(host, rest string) error {
	name, port, hasPort := host, "", false
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, port, hasPort = host[:i], host[i+1:], true
	}
	if hasPort {
		if _, err := parsePort(port); err != nil {
			return fmt.Errorf("port %q is not a number from 1 to 65535; write one pattern for each port", port)
		}
	}
	if strings.HasPrefix(name, "[") {
		return checkPatternAddress(name, hasPort)
	}
	if name == "" {
		return errors.New("a host is missing; write it like \"*.azurecr.io\"")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" {
			return errors.New("a host name has an empty label; remove the extra dot")
		}
		if !isGlobLabel(label) {
			return fmt.Errorf("%q is not a label of a host name; write letters, digits, inner hyphens and \"*\"", label)
		}
	}
	switch {
	case host == dockerHubAlias:
		return fmt.Errorf("the kubelet calls this host docker.io; write %q", dockerHub+rest)
	case !hasPort && name != "localhost" && !strings.ContainsAny(name, ".*") && name == strings.ToLower(name):
		return fmt.Errorf("in an image name, a word without a dot or a port is a path of docker.io; write the host with its port, or %q", dockerHub+"/"+name+rest)
	}
	return nil
}

// checkPatternAddress checks an IPv6 address with its brackets.
func checkPatternAddress(s string, hasPort bool) error {
	addr, err := netip.ParseAddr(strings.Trim(s, "[]"))
	switch {
	case err != nil || !strings.HasSuffix(s, "]") || !addr.Is6():
		return fmt.Errorf("%q is not an IPv6 address in brackets; write it like \"[2001:db8::1]:5000\"", s)
	case addr.Zone() != "":
		return fmt.Errorf("%q has a zone, which image names cannot have; remove it", s)
	case strings.Contains(s, "."):
		return fmt.Errorf("%q has dots, which image names cannot have in an IPv6 address; write its last two numbers in hexadecimal", s)
	case !hasPort:
		return errors.New("the kubelet matches an IPv6 address only with a port; add the port, or write a host name")
	}
	return nil
}

// isGlobLabel reports whether a label, its stars filled in, can be one of an
// image's host.
func isGlobLabel(label string) bool {
	for i := range len(label) {
		if !isAlnum(label[i]) && !strings.ContainsRune("-_*", rune(label[i])) {
			return false
		}
	}
	return label != "" && label[0] != '-' && label[len(label)-1] != '-'
}

func checkPatternPath(host, repository string) error {
	if before, _, ok := strings.Cut(repository, "*"); ok {
		return fmt.Errorf("a path needs no wildcard: it matches every repository that begins with it; write %q", strings.TrimSuffix(host+"/"+before, "/"))
	}
	if lower := strings.ToLower(repository); lower != repository {
		return fmt.Errorf("a repository has upper case; write %q", host+"/"+lower)
	}
	if CheckRepository(aRepository(host, repository)) != nil {
		return fmt.Errorf("no repository begins with %q; write lower-case letters and digits, joined by \".\", \"_\", \"__\", hyphens or single slashes", repository)
	}
	return nil
}

// anImage returns an image for a pattern of that host and path, its stars
// filled in: if the pattern can match any, it matches this one.
func anImage(host, repository string) string {
	fill := "a"
	if !strings.ContainsAny(host, ".:") {
		fill = "A" // a word in lower case is a path of docker.io
	}
	image, err := ParseImage(strings.ReplaceAll(host, "*", fill) + "/" + aRepository(host, repository))
	if err != nil {
		return ""
	}
	return image.Name()
}

// aRepository completes what a repository begins with.
func aRepository(host, prefix string) string {
	if last := prefix[strings.LastIndexByte(prefix, '/')+1:]; last == "" || !isPathComponent(last) {
		prefix += "a"
	}
	if host == dockerHub && !strings.Contains(prefix, "/") {
		prefix += "/a"
	}
	return prefix
}
