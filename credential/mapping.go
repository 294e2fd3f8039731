package credential

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mirrorcred/mirrorcred/mirror"
)

// A Mapping is one entry of --registry-mirror: images that begin with Source
// are served by Target. Either may have a path.
type Mapping struct {
	Source string // as written: the kubelet is answered under it
	Target string // host[:port][/prefix]
}

// ParseMappings parses the value of --registry-mirror as acr-credential-provider
// takes it, "source:target,source:target", and more: either side may have a
// port, and the target a scheme. The longest source comes first; of two with
// one source the later stays. Entries that are wrong are left out, as that
// plugin does, and come back as errors for the log.
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

// mask takes out what stands before an "@", which may be a password.
func mask(s string) string {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return "…" + s[i:]
	}
	return s
}

// parseMapping splits an entry at the first colon that leaves a host on each
// side: one behind which a port stands is not it.
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
			err = errors.New("target: the part behind the last colon is a port; write source:target")
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

// isPort reports whether what follows a colon begins with a port, so that the
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

// Apply returns the image as the first mapping that fits it has it, and that
// mapping; the zero Mapping where none does. A source ends where a part of the
// image's path ends: docker.io does not fit docker.iox/nginx.
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
