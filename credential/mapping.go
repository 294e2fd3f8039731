package credential

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Mapping is one entry of --registry-mirror: Target serves the images that
// begin with Source. Either may have a path.
type Mapping struct {
	Source string // as written; the key of the answer to the kubelet
	Target string // host[:port][/prefix]
}

// ParseMappings parses the value of --registry-mirror as
// acr-credential-provider does, "source:target,source:target", and more: either
// side may have a port, and the target a scheme. The longest source comes
// first. If a source occurs twice, the later one wins. ParseMappings leaves
// wrong entries out, as that plugin does, and returns an error for each.
func ParseMappings(s string) ([]Mapping, []error) {
	var list []Mapping
	var faults []error
	s = strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, s)
	for entry := range strings.SplitSeq(s, ",") {
		if entry == "" {
			continue
		}
		m, err := parseMapping(entry)
		if err != nil {
			faults = append(faults, fmt.Errorf("--registry-mirror: %q is left out: %w", clip(mask(entry)), err))
			continue
		}
		list = slices.DeleteFunc(list, func(other Mapping) bool { return other.Source == m.Source })
		list = append(list, m)
	}
	slices.SortStableFunc(list, func(a, b Mapping) int { return cmp.Compare(len(b.Source), len(a.Source)) })
	return list, faults
}

// mask removes what is before an "@", which may be a password.
func mask(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

// parseMapping splits an entry at the first colon that leaves a host on each
// side and is not followed by a port.
func parseMapping(entry string) (Mapping, error) {
	err := errors.New("it has no colon; write source:target")
	for i := range len(entry) {
		if entry[i] != ':' {
			continue
		}
		source, target := entry[:i], strings.TrimPrefix(entry[i+1:], "https://")
		if err = checkSide(source); err != nil {
			err = fmt.Errorf("source: %w", err)
			continue
		}
		if isPort(target) {
			err = errors.New("target: the part after the last colon is a port; write source:target")
			continue
		}
		if err = checkSide(target); err != nil {
			err = fmt.Errorf("target: %w", err)
			continue
		}
		return Mapping{strings.TrimSuffix(source, "/"), strings.TrimSuffix(target, "/")}, nil
	}
	return Mapping{}, err
}

// isPort reports whether the text after a colon begins with a port, so that the
// colon belongs to the source.
func isPort(s string) bool {
	end := strings.IndexAny(s, ":/")
	if end < 0 {
		end = len(s)
	}
	return end > 0 && strings.Trim(s[:end], "0123456789") == ""
}

// checkSide checks host[:port][/path].
func checkSide(s string) error {
	host, path, hasPath := strings.Cut(strings.TrimSuffix(s, "/"), "/")
	if _, err := mirror.ParseHost(host); err != nil || !hasPath {
		return err
	}
	return mirror.CheckRepository(path)
}

// Apply returns the name of an image at its mirror, and the first mapping that
// matches; if none does, the image as it is and the zero Mapping. A source ends
// at a part of the image's path: docker.io does not match docker.iox/nginx.
func Apply(list []Mapping, image string) (string, Mapping) {
	for _, m := range list {
		rest, ok := strings.CutPrefix(image, m.Source)
		if ok && (rest == "" || strings.ContainsRune("/:@", rune(rest[0]))) && !isMorePort(m.Source, rest) {
			return m.Target + rest, m
		}
	}
	return image, Mapping{}
}

// isMorePort reports whether rest begins with a port, so that the source is
// only the name of another host.
func isMorePort(source, rest string) bool {
	return !strings.Contains(source, "/") && strings.HasPrefix(rest, ":") && strings.Contains(rest, "/")
}
