package hosts

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Version is a release line of containerd, or one release of it. The zero
// Version stands for all supported ones at once, 1.7 to 2.4.
type Version struct{ major, minor, patch int }

// anyPatch stands for the newest patch of a line, where none is said.
const anyPatch = 1 << 30

// newest is the version that the zero Version is read as.
var newest = Version{2, 4, anyPatch}

// ParseVersion returns the version that s names, such as "2.2", "v2.4.2" or
// "1.7.35-1~deb12u1"; "" is the zero Version. A line without a patch is read as
// its newest release.
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return Version{}, nil
	}
	first, rest, _ := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	second, third, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(digits(second))
	if err != nil || err2 != nil || major < 1 {
		return Version{}, fmt.Errorf("containerd version %q: write it such as \"2.2\"", s)
	}
	v := Version{major, minor, anyPatch}
	if patch, err := strconv.Atoi(digits(third)); err == nil {
		v.patch = patch
	}
	if v.before(1, 7, 0) {
		return Version{}, fmt.Errorf("containerd version %q is older than 1.7, the oldest that is supported; update containerd", s)
	}
	return v, nil
}

// digits returns the digits that s begins with.
func digits(s string) string {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || '9' < r }); i >= 0 {
		return s[:i]
	}
	return s
}

func (v Version) before(major, minor, patch int) bool {
	return cmp.Or(cmp.Compare(v.major, major), cmp.Compare(v.minor, minor), cmp.Compare(v.patch, patch)) < 0
}

// OlderLine reports whether v is of an earlier release line than other. The zero
// Version, which stands for all lines, is not.
func (v Version) OlderLine(other Version) bool {
	return v != (Version{}) && other != (Version{}) && v.before(other.major, other.minor, 0)
}

// String returns the release line as MAJOR.MINOR, and "" for the zero Version.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", v.major, v.minor)
}

// readsReferrers reports whether containerd knows the capability: before 2.2
// it makes the whole file invalid, and pulls go to the source.
func (v Version) readsReferrers() bool { return v != (Version{}) && !v.before(2, 2, 0) }

// readsDialTimeout reports whether containerd knows dial_timeout; one that does
// not ignores the key, whatever it holds.
func (v Version) readsDialTimeout() bool { return !v.before(2, 0, 7) }

// readsBrackets reports whether containerd reads a table of a host that is an
// IPv6 address: 1.7 refuses the file.
func (v Version) readsBrackets() bool { return !v.before(2, 0, 0) }

// needsHost reports whether containerd refuses a file without a host table.
func (v Version) needsHost() bool { return v.before(1, 7, 32) }

// dialsWithTLS reports whether dial_timeout counts as a TLS setting, so that an
// http registry is tried with https first.
func (v Version) dialsWithTLS() bool { return v.readsDialTimeout() && v.before(2, 1, 0) }
