package hosts

import (
	"fmt"
	"strconv"
	"strings"
)

// A Version is a release line of containerd. The zero Version stands for all
// supported ones at once, 1.7 to 2.4.
type Version struct{ major, minor int }

// ParseVersion returns the release line of a version such as "2.2", "v2.4.2"
// or "1.7.35-1~deb12u1"; "" is the zero Version.
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return Version{}, nil
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	if i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || '9' < r }); i >= 0 {
		rest = rest[:i]
	}
	major, err := strconv.Atoi(first)
	if err != nil || major < 1 {
		return Version{}, fmt.Errorf("containerd version %q: write it such as \"2.2\"", s)
	}
	minor, err := strconv.Atoi(rest)
	if err != nil {
		return Version{}, fmt.Errorf("containerd version %q: write it such as \"2.2\"", s)
	}
	v := Version{major, minor}
	if v.before(1, 7) {
		return Version{}, fmt.Errorf("containerd version %q is older than 1.7, the oldest that is supported; update containerd", s)
	}
	return v, nil
}

func (v Version) before(major, minor int) bool {
	return v.major < major || v.major == major && v.minor < minor
}

// String returns the version as MAJOR.MINOR, and "" for the zero Version.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", v.major, v.minor)
}

// readsReferrers reports whether containerd knows the capability: before 2.2
// it makes the whole file invalid, and pulls go to the source.
func (v Version) readsReferrers() bool { return v != (Version{}) && !v.before(2, 2) }
