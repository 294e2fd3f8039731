// Package release knows the version numbers of containerd: it parses a version
// as people and programs write it, and compares two. What a release does is in
// the packages hosts and containerdconfig. Start at [Parse].
package release

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// A Version is a release line of containerd, or one release of it. The zero
// Version is invalid; some callers use it for an unknown version. Versions are
// comparable.
type Version struct{ major, minor, patch int }

// anyPatch stands for a line's newest release, if no patch is given.
const anyPatch = 1 << 30

// Line returns the newest release of a line.
func Line(major, minor int) Version { return Version{major, minor, anyPatch} }

// Parse returns the version that s names, such as "2.2", "v2.4.2",
// "2.2.9+unknown" or "1.7.35-1~deb12u1". A line without a patch means its
// newest release.
func Parse(s string) (Version, error) {
	first, rest, _ := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	second, third, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(first)
	minor, err2 := strconv.Atoi(digits(second))
	if err != nil || err2 != nil || major < 1 {
		return Version{}, &Fault{fmt.Sprintf("containerd version %q is not a version", s), "write it like \"2.2\""}
	}
	v := Version{major, minor, anyPatch}
	if patch, err := strconv.Atoi(digits(third)); err == nil {
		v.patch = patch
	}
	if v.Before(1, 7, 0) {
		return Version{}, &Fault{fmt.Sprintf("containerd version %q is older than 1.7, the oldest supported", s), "update containerd"}
	}
	return v, nil
}

// A Fault says why a text names no version, and what to do.
type Fault struct{ Text, Fix string }

// Error returns both in one line.
func (f *Fault) Error() string { return f.Text + "; " + f.Fix }

// digits returns the digits that s begins with.
func digits(s string) string {
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || '9' < r }); i >= 0 {
		return s[:i]
	}
	return s
}

// Before reports whether v is older than the release major.minor.patch.
func (v Version) Before(major, minor, patch int) bool {
	return cmp.Or(cmp.Compare(v.major, major), cmp.Compare(v.minor, minor), cmp.Compare(v.patch, patch)) < 0
}

// OlderLine reports whether v is of an earlier release line than other. It is
// false if one of the two is the zero Version.
func (v Version) OlderLine(other Version) bool {
	return v != (Version{}) && other != (Version{}) && v.Before(other.major, other.minor, 0)
}

// String returns the release line as MAJOR.MINOR, and "" for the zero Version.
func (v Version) String() string {
	if v == (Version{}) {
		return ""
	}
	return fmt.Sprintf("%d.%d", v.major, v.minor)
}

// Release returns the whole version, or only the line if the patch is not
// known.
func (v Version) Release() string {
	if v == (Version{}) || v.patch == anyPatch {
		return v.String()
	}
	return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch)
}
